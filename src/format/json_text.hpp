// Text as JSON has it.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string_view>

namespace headrace::format {

/// Writes `text`, which is UTF-8, as a JSON string: short escapes where there is one, as most writers have them.
/// A sink has put(std::string_view).
template <class Sink>
void put_json_string(Sink& sink, std::string_view text) {
  sink.put("\"");
  std::size_t plain = 0;  // start of the run that needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    sink.put(text.substr(plain, i - plain));
    plain = i + 1;
    switch (c) {
      case '"': sink.put("\\\""); break;
      case '\\': sink.put("\\\\"); break;
      case '\b': sink.put("\\b"); break;
      case '\f': sink.put("\\f"); break;
      case '\n': sink.put("\\n"); break;
      case '\r': sink.put("\\r"); break;
      case '\t': sink.put("\\t"); break;
      default: sink.put(fmt::format("\\u{:04x}", static_cast<unsigned>(c))); break;
    }
  }
  sink.put(text.substr(plain));
  sink.put("\"");
}

}  // namespace headrace::format
