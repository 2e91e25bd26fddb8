#include "cli/table.hpp"

#include "cli/text.hpp"

#include <algorithm>

namespace headrace::cli {
namespace {

constexpr std::size_t kWidest = 96;

void print_row(Output& out, std::span<const Column> layout, std::span<const std::size_t> widths, const Row& row) {
  for (std::size_t c = 0; c < layout.size(); ++c) {
    const std::size_t taken = columns(row[c]);
    const std::size_t padding = widths[c] > taken ? widths[c] - taken : 0;
    if (c != 0) out.write("  ");
    if (layout[c].align == Align::right) out.repeat(' ', padding);
    out.write(row[c]);
    if (layout[c].align == Align::left && c + 1 < layout.size()) out.repeat(' ', padding);
  }
  out.write("\n");
}

}  // namespace

void print_table(Output& out, std::span<const Column> layout, std::size_t rows,
                 const std::function<void(std::size_t, Row&)>& fill) {
  Row row(layout.size());
  const auto refill = [&](std::size_t i) {
    for (std::string& cell : row) cell.clear();  // keeps the memory of the row before
    fill(i, row);
  };

  std::vector<std::size_t> widths;
  widths.reserve(layout.size());
  for (const Column& column : layout) widths.push_back(columns(column.title));
  for (std::size_t i = 0; i < rows; ++i) {
    refill(i);
    for (std::size_t c = 0; c < widths.size(); ++c) {
      widths[c] = std::max(widths[c], std::min(columns(row[c]), kWidest));
    }
  }

  for (std::size_t c = 0; c < layout.size(); ++c) row[c] = layout[c].title;
  print_row(out, layout, widths, row);
  for (std::size_t i = 0; i < rows && !out.closed(); ++i) {
    refill(i);
    print_row(out, layout, widths, row);
  }
}

}  // namespace headrace::cli
