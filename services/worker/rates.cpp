#include "worker/rates.h"

#include <algorithm>

namespace bellwether::worker {

void Rates::add(mesh::TimePoint now, int64_t prefill_tokens, int64_t decode_tokens) {
  if (!first_) first_ = now;
  while (!slots_.empty() && slots_.front().begin <= now - kWindow) slots_.pop_front();
  if (slots_.empty() || slots_.back().begin <= now - kSlot) slots_.push_back({.begin = now});
  slots_.back().prefill_tokens += prefill_tokens;
  slots_.back().decode_tokens += decode_tokens;
}

v1::Rates Rates::now(mesh::TimePoint now) const {
  v1::Rates rates;
  if (!first_) return rates;
  const auto measured = std::clamp<mesh::TimePoint::duration>(now - *first_, kSlot, kWindow);
  const double seconds = std::chrono::duration<double>(measured).count();
  int64_t prefill_tokens = 0;
  int64_t decode_tokens = 0;
  for (const Slot& slot : slots_) {
    if (slot.begin <= now - kWindow) continue;
    prefill_tokens += slot.prefill_tokens;
    decode_tokens += slot.decode_tokens;
  }
  rates.set_prefill_tokens_per_s(static_cast<double>(prefill_tokens) / seconds);
  rates.set_decode_tokens_per_s(static_cast<double>(decode_tokens) / seconds);
  return rates;
}

}  // namespace bellwether::worker
