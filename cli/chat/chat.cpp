#include "cli/chat/chat.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/chat/interrupt.h"
#include "cli/chat/printer.h"
#include "cli/chat/reply_event.h"
#include "cli/chat/session.h"
#include "cli/chat/sse_parser.h"
#include "cli/http_client.h"
#include "cli/run_file.h"
#include "cli/terminal.h"
#include "mesh/error.h"
#include "mesh/settings.h"

namespace bellwether::cli {
namespace {

constexpr std::chrono::milliseconds kModelsTimeout{10000};
constexpr size_t kPromptBytesMax = 16 * 1024 * 1024;
constexpr int kStoppedStatus = 130;  // as of a program that SIGINT ended
constexpr const char* kDefaultUrl = "http://127.0.0.1:8000";
constexpr const char* kHelp =
    "/reset  forgets the conversation\n"
    "/help   shows this\n"
    "Ctrl-C  stops the answer; at the prompt it leaves, as Ctrl-D does\n";

struct ChatSettings {
  std::string url;
  std::string model;
  std::string system;
  double temperature = -1;
  std::string prompt;
};

void declare(mesh::Settings& declared, ChatSettings& settings) {
  declared.add("url", &settings.url,
               {.sentence = "Where the gateway is; by default the one of the running `bellwether up`, or "
                            "http://127.0.0.1:8000"});
  declared.add("model", &settings.model, {.sentence = "Model to talk to; by default the first that is served"});
  declared.add("system", &settings.system, {.sentence = "System message"});
  declared.add(
      "temperature", &settings.temperature,
      {.sentence = "Randomness of the answer, 0 = none; -1 leaves it to the model's own default", .min = -1, .max = 2});
  declared.add_positional("PROMPT", &settings.prompt, "Asks this, prints the answer and ends", false);
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_error(std::string_view text) {
  std::fflush(stdout);
  const std::string line = fmt::format("bellwether chat: {}\n", printable(text));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string find_url(const std::string& chosen) {
  std::string url = chosen;
  if (url.empty()) {
    const auto mesh = find_running_mesh(default_run_folder());
    url = mesh ? mesh->http_url : kDefaultUrl;
  }
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::string find_model(const std::string& url, const std::string& api_key) {
  const HttpReply reply = http_get(url + "/v1/models", api_key, kModelsTimeout);
  if (reply.status != 200) throw mesh::Error(mesh::ErrorCode::kUnavailable, error_message(reply.status, reply.body));
  const std::vector<std::string> ids = model_ids(reply.body);
  if (ids.empty()) throw mesh::Error(mesh::ErrorCode::kUnavailable, url + " serves no model at the moment");
  return ids.front();
}

class Chat {
 public:
  Chat(std::string url, std::string api_key, ChatSession session)
      : url_(std::move(url)), api_key_(std::move(api_key)), session_(std::move(session)) {}

  enum class Outcome { kAnswered, kStopped, kFailed };
  // Prints the answer as it arrives, and what went wrong.
  Outcome ask(const std::string& prompt);
  void converse();

 private:
  struct Answer {
    std::string content;
    std::string error;
    int64_t completion_tokens = 0;
    bool done = false;
  };
  HttpStreamEnd stream(const std::string& prompt, Answer& answer);
  void print_rate(const Answer& answer, std::chrono::steady_clock::time_point begun) const;
  std::optional<std::string> read_prompt();

  std::string url_;
  std::string api_key_;
  ChatSession session_;
  Terminal terminal_ = inspect_terminal(STDOUT_FILENO);
  Interrupt interrupt_;
  std::string input_;  // read from the terminal, not yet used
};

HttpStreamEnd Chat::stream(const std::string& prompt, Answer& answer) {
  AnswerPrinter printer(terminal_, &print);
  SseParser parser([&](std::string_view data) {
    ReplyEvent event = parse_reply_event(data);
    printer.reasoning(event.reasoning);
    printer.content(event.content);
    answer.content += event.content;
    if (event.completion_tokens) answer.completion_tokens = *event.completion_tokens;
    if (answer.error.empty()) answer.error = std::move(event.error);
    answer.done = answer.done || event.done;
  });
  HttpStreamRequest request;
  request.url = url_ + "/v1/chat/completions";
  request.api_key = api_key_;
  request.json_body = session_.request_body(prompt);
  request.on_bytes = [&](std::string_view bytes) {
    if (parser.push(bytes)) return true;
    answer.error = "the server sent an event without end";
    return false;
  };
  request.stop_descriptor = interrupt_.descriptor();
  try {
    HttpStreamEnd end = http_post_stream(request);
    printer.finish();
    return end;
  } catch (...) {
    printer.finish();
    throw;
  }
}

Chat::Outcome Chat::ask(const std::string& prompt) {
  Answer answer;
  bool interrupted = false;
  const auto begun = std::chrono::steady_clock::now();
  try {
    const HttpStreamEnd end = stream(prompt, answer);
    if (end.status != 200 && !end.stopped) answer.error = error_message(end.status, end.error_body);
    interrupted = interrupt_.take();
    if (interrupted && terminal_.is_terminal) print("(stopped)\n");
    if (answer.error.empty() && !interrupted && !answer.done) answer.error = "the answer broke off";
  } catch (const mesh::Error& error) {
    answer.error = error.what();
  }
  if (!answer.error.empty()) {
    print_error(answer.error);
    return Outcome::kFailed;
  }
  print_rate(answer, begun);
  session_.remember(prompt, answer.content);
  return interrupted ? Outcome::kStopped : Outcome::kAnswered;
}

void Chat::print_rate(const Answer& answer, std::chrono::steady_clock::time_point begun) const {
  if (!terminal_.is_terminal || answer.completion_tokens == 0) return;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  print(dim(terminal_, fmt::format("{} tokens in {:.1f} s", answer.completion_tokens, took.count())) + "\n");
}

// One line of the terminal, whose own line editing applies. nullopt at Ctrl-D and Ctrl-C.
std::optional<std::string> Chat::read_prompt() {
  while (true) {
    if (const size_t line_end = input_.find('\n'); line_end != std::string::npos) {
      std::string line = input_.substr(0, line_end);
      input_.erase(0, line_end + 1);
      return line;
    }
    pollfd waited[] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_.descriptor(), POLLIN, 0}};
    if (poll(waited, 2, -1) < 0 && errno != EINTR) return std::nullopt;
    if (interrupt_.take()) return std::nullopt;
    if (waited[0].revents == 0) continue;
    char bytes[4096];
    const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0) return std::nullopt;
    input_.append(bytes, static_cast<size_t>(count));
  }
}

void Chat::converse() {
  print(dim(terminal_, "Ctrl-D leaves, /help shows the commands.") + "\n");
  while (true) {
    print("\n" + bold(terminal_, "> "));
    const auto line = read_prompt();
    if (!line) break;
    if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
    if (*line == "/help") {
      print(kHelp);
    } else if (*line == "/reset") {
      session_.reset();
      print("A new conversation.\n");
    } else if (line->starts_with('/') && line->find(' ') == std::string::npos) {
      print(fmt::format("There is no command {}.\n{}", printable(*line), kHelp));
    } else {
      print("\n");
      ask(*line);
    }
  }
  print("\n");
}

std::string read_standard_input() {
  std::string text;
  char bytes[4096];
  while (true) {
    const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(bytes, static_cast<size_t>(count));
    if (text.size() > kPromptBytesMax) {
      throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "the prompt on standard input is too large");
    }
  }
  while (text.ends_with('\n')) text.pop_back();
  if (text.empty()) throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "no prompt: standard input is empty");
  return text;
}

}  // namespace

int run_chat(int argc, char** argv) {
  ChatSettings settings;
  mesh::Settings declared("bellwether chat", "chat",
                          "Talks to a model in the terminal. An API key is taken from BELLWETHER_API_KEY.");
  declare(declared, settings);
  if (const auto status = declared.parse_main(argc, argv)) return *status;

  if (settings.prompt.empty() && isatty(STDIN_FILENO) == 0) settings.prompt = read_standard_input();
  const std::string url = find_url(settings.url);
  const char* key = std::getenv("BELLWETHER_API_KEY");
  const std::string api_key = key == nullptr ? "" : key;
  const std::string model = settings.model.empty() ? find_model(url, api_key) : settings.model;
  const auto temperature = settings.temperature < 0 ? std::nullopt : std::optional(settings.temperature);
  Chat chat(url, api_key, ChatSession(model, settings.system, temperature));
  if (settings.prompt.empty()) {
    chat.converse();
    return 0;
  }
  switch (chat.ask(settings.prompt)) {
    case Chat::Outcome::kAnswered:
      return 0;
    case Chat::Outcome::kStopped:
      return kStoppedStatus;
    case Chat::Outcome::kFailed:
      break;
  }
  return 1;
}

}  // namespace bellwether::cli
