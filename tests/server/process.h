#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace satsuma::test {

/// A child process with its output in files below `folder`.
class Process {
 public:
  Process(const std::string& folder, std::string program, std::vector<std::string> arguments) : out_(folder + "/stdout"), error_(folder + "/stderr") {
    arguments.insert(arguments.begin(), std::move(program));
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::unlink(out_.c_str());
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(::open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
      ::dup2(::open(error_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  Process(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  std::string out() const { return read(out_); }
  std::string error() const { return read(error_); }
  int pid() const { return pid_; }
  void signal(int number) { ::kill(pid_, number); }

  /// The exit status, 128 + signal, or -1 when it still runs after the time.
  int wait(std::chrono::milliseconds patience = std::chrono::seconds(15)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < end) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return -1;
  }

 private:
  static std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  pid_t pid_ = -1;
  std::string out_, error_;
};

} // namespace satsuma::test
