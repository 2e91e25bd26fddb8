// FileSink: the tensors go to a new checkpoint.
#pragma once

#include "flow/sink.hpp"
#include "format/writer.hpp"

namespace headrace::flow {

class FileSink final : public Sink {
 public:
  explicit FileSink(format::Writer& writer) : writer_(writer) {}

  bool copy_from(const io::File& file, std::uint64_t at, std::uint32_t tensor, std::uint64_t first,
                 std::uint64_t bytes) override {
    return writer_.copy_from(file, at, tensor, first, bytes);
  }
  void put(std::uint32_t tensor, std::uint64_t first, std::span<const std::byte> bytes, Place) override {
    writer_.write(tensor, first, bytes);
  }
  void put_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes, Place) override {
    writer_.write_run(tensors, bytes);
  }

 private:
  format::Writer& writer_;
};

}  // namespace headrace::flow
