// The JSON of a safetensors header, written to anything that takes text.
#pragma once

#include "format/json_text.hpp"

#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace headrace::format::safetensors {

inline constexpr std::string_view kMetadata = "__metadata__";

template <class Sink>
void put_number(Sink& sink, std::uint64_t number) {
  const fmt::format_int digits(number);
  sink.put(std::string_view(digits.data(), digits.size()));
}

/// `data`: where the tensors' bytes begin, which offsets count from.
template <class Sink>
void put_tensor(Sink& sink, const TensorInfo& tensor, std::uint64_t data) {
  put_json_string(sink, tensor.name);
  sink.put(":{\"dtype\":\"");
  sink.put(info(tensor.dtype).safetensors_name);
  sink.put("\",\"shape\":[");
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (i > 0) sink.put(",");
    put_number(sink, tensor.shape[i]);
  }
  sink.put("],\"data_offsets\":[");
  put_number(sink, tensor.offset - data);
  sink.put(",");
  put_number(sink, tensor.offset - data + tensor.bytes);
  sink.put("]}");
}

template <class Sink>
void put_json(Sink& sink, std::span<const TensorInfo> tensors, const Metadata& metadata, std::uint64_t data) {
  bool first = true;
  const auto separate = [&] { sink.put(std::exchange(first, false) ? "{" : ","); };
  if (!metadata.empty()) {
    separate();
    put_json_string(sink, kMetadata);
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      sink.put(i == 0 ? ":{" : ",");
      put_json_string(sink, metadata.key(i));
      sink.put(":");
      put_json_string(sink, metadata.value(i).as_string().value());
    }
    sink.put("}");
  }
  for (const TensorInfo& tensor : tensors) {
    separate();
    put_tensor(sink, tensor, data);
  }
  sink.put(first ? "{}" : "}");
}

}  // namespace headrace::format::safetensors
