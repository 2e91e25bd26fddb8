# Compiler flags that every target of the project shares.
add_library(headrace_flags INTERFACE)
target_compile_options(headrace_flags INTERFACE
  # The same bytes on every processor: a contracted multiply-add rounds once where the reference rounds twice.
  -ffp-contract=off
  # g++ 12 sees overlaps in the standard library's strings that aren't there (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wold-style-cast)
if(HEADRACE_WARNINGS_AS_ERRORS)
  target_compile_options(headrace_flags INTERFACE -Werror)
endif()
if(HEADRACE_SANITIZE)
  target_compile_options(headrace_flags INTERFACE
    -fsanitize=${HEADRACE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(headrace_flags INTERFACE -fsanitize=${HEADRACE_SANITIZE})
endif()
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
install(TARGETS headrace_flags EXPORT headraceTargets)
