// Ctrl-C as something that can be waited for beside other descriptors.
#pragma once

namespace bellwether::cli {

// While it lives, SIGINT makes descriptor() readable instead of ending the process. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  [[nodiscard]] int descriptor() const;

  // Whether there was one since the last call.
  bool take();

 private:
  int descriptor_;
};

}  // namespace bellwether::cli
