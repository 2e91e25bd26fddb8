// A driver's library, found when the program runs.
#pragma once

#include <string>

namespace headrace::device {

/// Loaded for as long as the process runs: drivers start threads of their own, and few survive being unloaded.
/// Thread-safety: const members from any threads.
class DynamicLibrary {
 public:
  /// Loads `file`: a name to be searched for as the system does, or a path. Never throws; see `problem`.
  explicit DynamicLibrary(const std::string& file);

  /// Empty when it was loaded and all that was bound was there; else what the system says.
  const std::string& problem() const noexcept { return problem_; }

  /// Points `function` to the function of that name. A missing one becomes the problem.
  template <class Function>
  void bind(Function*& function, const char* symbol) {
    function = reinterpret_cast<Function*>(find(symbol));
  }

 private:
  void* find(const char* symbol);

  std::string file_;
  void* library_ = nullptr;
  std::string problem_;
};

/// The file that the environment variable names instead of the usual one, which is for tests; never for a program that
/// runs with another user's rights.
std::string library_file(const char* variable, const char* usual);

}  // namespace headrace::device
