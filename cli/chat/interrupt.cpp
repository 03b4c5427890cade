#include "cli/chat/interrupt.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace bellwether::cli {
namespace {

sigset_t interrupt_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t set = interrupt_set();
  descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  // Threads that libraries start later inherit the mask, so that the signal waits for the descriptor alone.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Interrupt::~Interrupt() {
  take();
  const sigset_t set = interrupt_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  close(descriptor_);
}

int Interrupt::descriptor() const {
  return descriptor_;
}

bool Interrupt::take() {
  signalfd_siginfo about{};
  bool taken = false;
  while (read(descriptor_, &about, sizeof about) == sizeof about) taken = true;
  return taken;
}

}  // namespace bellwether::cli
