#include <headrace/headrace.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const headrace::Checkpoint checkpoint = headrace::Checkpoint::open(argv[1]);
    std::printf("consumer: headrace %s reads %zu tensors\n", headrace::version(), checkpoint.tensors().size());
  } catch (const headrace::Error& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
}
