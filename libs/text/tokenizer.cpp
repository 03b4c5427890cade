#include "text/tokenizer.h"

#include <fmt/format.h>

#include <utility>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace bellwether::text {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;

}  // namespace

struct Tokenizer::Data {
  struct Token {
    std::string bytes;
    bool special = false;
  };

  Data(const TokenizerFile& file, PreTokenizer&& cutter)
      : pretokenizer(std::move(cutter)), bpe(file.vocabulary, file.merges, file.ignore_merges) {
    tokens.resize(static_cast<size_t>(file.id_limit));
    for (const auto& [bytes, id] : file.vocabulary) at(id).bytes = bytes;
    for (const auto& [text, id] : file.opaque) at(id).bytes = text;
    for (const AddedToken& added : file.added_tokens) {
      Token& token = at(added.id);
      // One that the vocabulary has too stands for what it stands for there.
      if (token.bytes.empty()) token.bytes = added.content;
      token.special = added.special;
      (added.normalized ? normalized_added : raw_added).add(added.content, added.id);
      added_ids.emplace(added.content, added.id);
    }
  }

  Token& at(TokenId id) { return tokens[static_cast<size_t>(id)]; }
  [[nodiscard]] const Token* find(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() ? &tokens[static_cast<size_t>(id)] : nullptr;
  }

  PreTokenizer pretokenizer;
  Bpe bpe;
  std::vector<Token> tokens;  // by id; an id that stands for nothing has no bytes
  AddedTokenMatcher raw_added;
  AddedTokenMatcher normalized_added;
  Bpe::Vocabulary added_ids;
};

namespace {

// Calls on_token(id) for each added token in the text and on_text(part) for what is between them, in order.
template <typename OnToken, typename OnText>
void for_each_segment(const AddedTokenMatcher& matcher, std::string_view text, OnToken on_token, OnText on_text) {
  size_t done = 0;
  while (const auto match = matcher.empty() ? std::nullopt : matcher.find(text, done)) {
    if (match->begin > done) on_text(text.substr(done, match->begin - done));
    on_token(match->id);
    done = match->begin + match->length;
  }
  if (done < text.size()) on_text(text.substr(done));
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Data> data) : data_(std::move(data)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_json(std::string_view tokenizer_json) {
  TokenizerFile file = read_tokenizer_file(tokenizer_json);
  return Tokenizer(std::make_unique<const Data>(file, std::move(file.pretokenizer)));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  if (text.size() > kTextBytesMax) throw TextError(fmt::format("the text has more than {} bytes", kTextBytesMax));
  if (!is_valid_utf8(text)) throw TextError("the text is not UTF-8");
  std::vector<TokenId> ids;
  std::vector<std::string_view> pieces;
  Bpe::Workspace workspace;
  const auto on_token = [&](TokenId id) { ids.push_back(id); };
  const auto on_text = [&](std::string_view part) {
    pieces.clear();
    data_->pretokenizer.split(part, pieces);
    for (const std::string_view piece : pieces) data_->bpe.encode(piece, workspace, ids);
  };
  for_each_segment(data_->raw_added, text, on_token,
                   [&](std::string_view part) { for_each_segment(data_->normalized_added, part, on_token, on_text); });
  return ids;
}

std::string_view Tokenizer::bytes(TokenId id) const {
  const Data::Token* const token = data_->find(id);
  return token == nullptr ? std::string_view() : std::string_view(token->bytes);
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!(skip_special_tokens && is_special(id))) bytes.append(this->bytes(id));
  }
  std::string text;
  text.reserve(bytes.size());
  if (append_repaired_utf8(bytes, text) > 0) text.append(kReplacementCharacter);
  return text;
}

bool Tokenizer::is_special(TokenId id) const {
  const Data::Token* const token = data_->find(id);
  return token != nullptr && token->special;
}

std::optional<TokenId> Tokenizer::id_of_added_token(std::string_view content) const {
  const auto found = data_->added_ids.find(content);
  if (found == data_->added_ids.end()) return std::nullopt;
  return found->second;
}

TokenId Tokenizer::id_limit() const {
  return static_cast<TokenId>(data_->tokens.size());
}

}  // namespace bellwether::text
