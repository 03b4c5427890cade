#include "weights/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bellwether::weights {
namespace {

TEST(FloatFormats, E4m3HasTheValuesOfTheFormat) {
  EXPECT_EQ(float_of_e4m3(0x00), 0.0F);
  EXPECT_EQ(float_of_e4m3(0x01), 0x1p-9F);  // the smallest subnormal
  EXPECT_EQ(float_of_e4m3(0x08), 0x1p-6F);  // the smallest normal
  EXPECT_EQ(float_of_e4m3(0x38), 1.0F);
  EXPECT_EQ(float_of_e4m3(0x7E), 448.0F);
  EXPECT_EQ(float_of_e4m3(0xFE), -448.0F);
  EXPECT_TRUE(std::isnan(float_of_e4m3(0x7F)));
  EXPECT_TRUE(std::isnan(float_of_e4m3(0xFF)));
}

TEST(FloatFormats, EveryE4m3ValueSurvivesARoundTrip) {
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7F) == 0x7F) continue;
    EXPECT_EQ(e4m3_of(float_of_e4m3(static_cast<uint8_t>(code))), code);
  }
}

TEST(FloatFormats, E4m3RoundsToNearestAndTiesToEven) {
  for (int code = 0; code < 0x7E; ++code) {
    const float low = float_of_e4m3(static_cast<uint8_t>(code));
    const float high = float_of_e4m3(static_cast<uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(e4m3_of(std::nextafter(middle, 0.0F)), code);
    EXPECT_EQ(e4m3_of(std::nextafter(middle, 500.0F)), code + 1);
    EXPECT_EQ(e4m3_of(middle), code % 2 == 0 ? code : code + 1);
  }
}

TEST(FloatFormats, Bf16RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(bf16_of(1.0F), 0x3F80);
  EXPECT_EQ(bf16_of(1.0F + 0x1p-8F), 0x3F80);  // half way, down to the even one
  EXPECT_EQ(bf16_of(1.0F + 0x1p-8F + 0x1p-20F), 0x3F81);
  EXPECT_EQ(bf16_of(1.0F + 0x3p-8F), 0x3F82);  // half way, up to the even one
  EXPECT_EQ(bf16_of(-2.5F), 0xC020);
  EXPECT_EQ(float_of_bf16(0xC020), -2.5F);
}

}  // namespace
}  // namespace bellwether::weights
