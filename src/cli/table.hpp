// Aligned columns.
#pragma once

#include "cli/output.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {

enum class Align { left, right };

struct Column {
  std::string_view title;
  Align align = Align::left;
};

/// The cells of one row, as many as there are columns. Cells hold safe text.
using Row = std::vector<std::string>;

/// Prints a heading and `rows` rows. `fill` is called twice for every row, with empty cells: to find the widths, then
/// to print. So no more than one row is in memory, however many there are. Cells wider than 96 columns stick out.
void print_table(Output& out, std::span<const Column> columns, std::size_t rows,
                 const std::function<void(std::size_t, Row&)>& fill);

}  // namespace headrace::cli
