// The digest by which gateways and heads know a model card.
#pragma once

#include <string>

#include "bellwether/v1/mesh.pb.h"

namespace bellwether::mesh {

// SHA-256 in hexadecimal over the fields after ModelCard.digest, in the order of their numbers, each as its length in
// 8 little-endian bytes and its bytes (numbers: 8 little-endian bytes). Two cards of one digest are one card, byte for
// byte, once serialized, if their names are the same. Throws Error{kInternal} where OpenSSL has no SHA-256.
[[nodiscard]] std::string card_digest(const v1::ModelCard& card);

}  // namespace bellwether::mesh
