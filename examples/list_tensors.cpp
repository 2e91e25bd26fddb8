// Lists a checkpoint's tensors and reads the first bytes of one: no other byte of its data is touched.
#include <headrace/headrace.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: list_tensors FILE\n");
    return 2;
  }
  try {
    const headrace::Checkpoint checkpoint = headrace::Checkpoint::open(argv[1]);
    for (const headrace::TensorInfo& tensor : checkpoint.tensors()) {
      std::printf("%-40.*s %-8s %s\n", static_cast<int>(tensor.name.size()), tensor.name.data(),
                  std::string(headrace::name(tensor.dtype)).c_str(), headrace::to_string(tensor.shape).c_str());
    }
    if (checkpoint.tensors().empty()) return 0;

    const headrace::TensorInfo& first = checkpoint.tensors().front();
    std::array<std::byte, 16> bytes{};
    const auto some = std::span(bytes).first(std::min<std::uint64_t>(bytes.size(), first.bytes));
    checkpoint.read(first, 0, some);
    std::printf("its first bytes:");
    for (const std::byte byte : some) std::printf(" %02x", std::to_integer<unsigned>(byte));
    std::printf("\n");
  } catch (const headrace::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
