// http_loop URL TARGET CONNECTIONS: the plainest fast download there is, as a yardstick for conversions of URLs.
//
// Each connection is a bare libcurl handle that fetches one contiguous range of the file and writes what comes with
// pwrite into a file of its final size. Nothing is checked but that all bytes came: what a conversion costs beyond this
// is Headrace's own.
#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr long kBuffer = 512L << 10;

struct Range {
  int to;
  curl_off_t at, end;  // of the next byte, of the last one and one more
};

std::size_t write_all(const char* data, std::size_t, std::size_t bytes, void* user) {
  auto& range = *static_cast<Range*>(user);
  std::size_t left = bytes;
  while (left > 0) {
    const ssize_t put = ::pwrite(range.to, data, left, static_cast<off_t>(range.at));
    if (put <= 0) return 0;
    data += put;
    range.at += put;
    left -= static_cast<std::size_t>(put);
  }
  return bytes;
}

curl_off_t size_of(const char* url) {
  CURL* curl = curl_easy_init();
  curl_off_t size = -1;
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  if (curl_easy_perform(curl) == CURLE_OK) curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
  curl_easy_cleanup(curl);
  return size;
}

bool fetch(const char* url, Range range) {
  CURL* curl = curl_easy_init();
  const std::string text = std::to_string(range.at) + "-" + std::to_string(range.end - 1);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBuffer);
  curl_easy_setopt(curl, CURLOPT_RANGE, text.c_str());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &write_all);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &range);
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) std::fprintf(stderr, "http_loop: %s\n", curl_easy_strerror(code));
  curl_easy_cleanup(curl);
  return code == CURLE_OK && range.at == range.end;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: http_loop URL TARGET CONNECTIONS\n");
    return 2;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const auto start = std::chrono::steady_clock::now();
  const curl_off_t size = size_of(argv[1]), connections = std::atoi(argv[3]);
  const int to = ::open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (size <= 0 || connections <= 0 || to < 0 || ::ftruncate(to, static_cast<off_t>(size)) != 0) {
    std::fprintf(stderr, "http_loop: can't begin\n");
    return 1;
  }
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (curl_off_t i = 0; i < connections; ++i) {
    const Range range{to, size / connections * i, i + 1 == connections ? size : size / connections * (i + 1)};
    threads.emplace_back([&failed, url = argv[1], range] {
      if (range.at < range.end && !fetch(url, range)) failed = true;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.3f s, %.3f GB/s\n", seconds, static_cast<double>(size) / seconds / 1e9);
  return failed ? 1 : 0;
}
