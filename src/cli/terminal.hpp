// What is at the other end of standard output and standard error.
#pragma once

#include <cstddef>
#include <string_view>

namespace headrace::cli {

/// Gives closed standard streams a place-holder that refuses writes. Without it the first file opened would take
/// number 1 or 2, and messages would end up inside a model.
void fill_standard_streams();

/// True when the descriptor is a terminal that can redraw a line.
bool can_redraw(int descriptor);
/// Columns of a terminal; 80 when it doesn't say.
std::size_t terminal_width(int descriptor);
/// True when coloured text is wanted there: a terminal, and NO_COLOR unset or empty.
bool wants_colour(int descriptor);

/// Writes to standard error at once. A failure is ignored: there is nowhere left to report it.
void write_stderr(std::string_view text);

}  // namespace headrace::cli
