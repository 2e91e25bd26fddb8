#include "device/dynamic_library.hpp"

#include <dlfcn.h>
#include <stdlib.h>

namespace headrace::device {

DynamicLibrary::DynamicLibrary(const std::string& file)
    : file_(file), library_(::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) problem_ = std::string("can't load ") + ::dlerror();
}

void* DynamicLibrary::find(const char* symbol) {
  if (library_ == nullptr) return nullptr;
  void* found = ::dlsym(library_, symbol);
  if (found == nullptr && problem_.empty()) problem_ = file_ + " has no " + symbol;
  return found;
}

std::string library_file(const char* variable, const char* usual) {
  const char* other = ::secure_getenv(variable);
  return other != nullptr && *other != '\0' ? other : usual;
}

}  // namespace headrace::device
