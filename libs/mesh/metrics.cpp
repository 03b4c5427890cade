#include "mesh/metrics.h"

#include <prometheus/text_serializer.h>

namespace bellwether::mesh {

std::string render_metrics(const prometheus::Registry& registry) {
  return prometheus::TextSerializer{}.Serialize(registry.Collect());
}

}  // namespace bellwether::mesh
