// copy_loop SOURCE TARGET THREADS: the plainest fast copy there is, as a yardstick for conversions.
//
// Each thread takes the next MiB, reads it with pread and writes it with pwrite into a file of its final size. No
// header is read, nothing is checked: what a conversion costs beyond this is Headrace's own.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;

bool copy_chunk(int from, int to, std::vector<char>& buffer, std::size_t at, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::pread(from, buffer.data(), bytes, static_cast<off_t>(at));
    if (got <= 0) return false;
    std::size_t left = static_cast<std::size_t>(got);
    const char* data = buffer.data();
    while (left > 0) {
      const ssize_t put = ::pwrite(to, data, left, static_cast<off_t>(at));
      if (put <= 0) return false;
      data += put;
      at += static_cast<std::size_t>(put);
      left -= static_cast<std::size_t>(put);
    }
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: copy_loop SOURCE TARGET THREADS\n");
    return 2;
  }
  const int from = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  const int to = ::open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  struct stat about {};
  if (from < 0 || to < 0 || ::fstat(from, &about) != 0 || ::ftruncate(to, about.st_size) != 0) {
    std::perror("copy_loop");
    return 1;
  }
  const auto size = static_cast<std::size_t>(about.st_size);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (int i = std::atoi(argv[3]); i > 0; --i) {
    threads.emplace_back([&] {
      std::vector<char> buffer(kChunk);
      for (std::size_t at = next.fetch_add(kChunk); at < size && !failed; at = next.fetch_add(kChunk)) {
        if (!copy_chunk(from, to, buffer, at, std::min(kChunk, size - at))) failed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed) std::fprintf(stderr, "copy_loop: a read or write failed\n");
  return failed ? 1 : 0;
}
