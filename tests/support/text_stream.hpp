// TextStream and Shelf: a program's own byte streams, for tests.
#pragma once

#include <headrace/fetch.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace headrace::test {

/// How a TextStream behaves.
struct Behaviour {
  std::size_t step = std::size_t{64} << 10;  ///< most bytes that a read brings
  bool ranges = false;
  std::optional<std::uint64_t> size = {};  ///< what it says, if anything
};

class TextStream final : public ByteStream {
 public:
  explicit TextStream(std::string text, Behaviour how = {}) : text_(std::move(text)), how_(how) {}

  std::optional<std::uint64_t> size() const override { return how_.size; }
  bool ranges() const override { return how_.ranges; }
  std::size_t read(std::span<std::byte> out) override {
    const std::size_t got = copy(at_, out);
    at_ += got;
    return got;
  }
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) override {
    return copy(static_cast<std::size_t>(offset), out);
  }

  std::atomic<int> reads = 0;

 private:
  std::size_t copy(std::size_t from, std::span<std::byte> out) {
    ++reads;
    const std::size_t n = std::min({how_.step, out.size(), text_.size() - std::min(from, text_.size())});
    if (n > 0) std::memcpy(out.data(), text_.data() + from, n);
    return n;
  }

  const std::string text_;
  const Behaviour how_;
  std::size_t at_ = 0;
};

/// Files by their locations, each of which is asked for once. Notes which were.
class Shelf {
 public:
  explicit Shelf(std::map<std::string, std::string> files, Behaviour how = {}) : files_(std::move(files)), how_(how) {}

  /// The shelf must outlive it.
  Fetch fetch() {
    return [this](const std::string& location) -> std::shared_ptr<ByteStream> {
      const std::lock_guard lock(mutex_);
      asked_.push_back(location);
      const auto file = files_.find(location);
      if (file == files_.end()) throw std::out_of_range("no " + location);
      Behaviour how = how_;
      if (how.ranges) how.size = file->second.size();
      return std::make_shared<TextStream>(file->second, how);
    };
  }

  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  const std::map<std::string, std::string> files_;
  const Behaviour how_;
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
};

}  // namespace headrace::test
