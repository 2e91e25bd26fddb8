// Reads views: rows, columns, transposed or repeated parts of a larger run of elements.
#pragma once

#include "format/stored.hpp"
#include "io/byte_source.hpp"

#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::flow {

/// Fills `out` with whole elements of a tensor whose encoding is Encoding::strided: row-major, from element
/// `first_element` on. The range must lie inside the tensor, and its type be one of whole bytes a number.
///
/// Elements that lie together are read together, and so are those with small gaps between them; what is repeated or
/// transposed is put in order in memory, a quarter of a mebibyte at a time. The wider the range, the longer the runs
/// that a transposed matrix is read in: of C columns, a range of B bytes reads runs of B / C bytes. Thread-safe where
/// the source is. Throws what reading does.
void read_strided(const io::ByteSource& file, const TensorInfo& tensor, const format::Strided& how,
                  std::uint64_t first_element, std::span<std::byte> out);

/// How many elements should be asked for at a time, at least, where memory allows: for a transposed matrix so many rows
/// that its runs in the file are worth a read each. 1 where any range is as good as another. Not more than the tensor.
std::uint64_t good_range(const TensorInfo& tensor, const format::Strided& how);

}  // namespace headrace::flow
