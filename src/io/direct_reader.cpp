#include "io/direct_reader.hpp"

#include "base/checked.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace headrace::io {
namespace {

constexpr std::size_t kAlignment = DirectReader::kAlignment;
// A request of io_uring's into the caller's memory.
constexpr std::size_t kChunk = std::size_t{1} << 20;
// One of pread's, which the system cuts into requests that are in flight together.
constexpr std::size_t kReadInTurn = std::size_t{8} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::uint64_t round_down(std::uint64_t n) { return n - n % kAlignment; }
std::uint64_t round_up(std::uint64_t n) { return round_down(n + kAlignment - 1); }  // of offsets in a file: no overflow

// Bytes that are wanted of the file, and where.
struct Run {
  std::uint64_t offset = 0;
  std::span<std::byte> out;
};

// One direct read: `size` bytes from `begin` on, into the run's own memory or through a buffer.
struct Piece {
  std::uint64_t begin = 0;
  std::size_t size = 0;
  Run wanted;
  bool in_place = false;
};

// A run cut into pieces, in the order of the file.
class Pieces {
 public:
  // `chunk`: the most bytes of a piece in place; `buffer`: of another. Both are multiples of the alignment.
  Pieces(Run run, std::size_t memory_alignment, std::size_t chunk, std::size_t buffer)
      : left_(run),
        congruent_((reinterpret_cast<std::uintptr_t>(run.out.data()) - run.offset) % memory_alignment == 0),
        chunk_(chunk),
        buffer_(buffer) {}

  std::optional<Piece> next() {
    if (left_.out.empty()) return std::nullopt;
    const std::uint64_t begin = round_down(left_.offset), end = left_.offset + left_.out.size();
    const bool in_place = congruent_ && begin == left_.offset && round_down(end) > begin;
    // Beside what is read in place, there is but a block at either end to go through a buffer.
    const std::uint64_t most = in_place ? chunk_ : congruent_ ? kAlignment : buffer_;
    const std::uint64_t size = std::min(most, (in_place ? round_down(end) : round_up(end)) - begin);
    const auto wanted = static_cast<std::size_t>(std::min(end, begin + size) - left_.offset);
    const Piece piece{begin, static_cast<std::size_t>(size), {left_.offset, left_.out.first(wanted)}, in_place};
    left_ = {left_.offset + wanted, left_.out.subspan(wanted)};
    return piece;
  }

 private:
  Run left_;
  const bool congruent_;
  const std::size_t chunk_, buffer_;
};

// Where the bytes of a piece go first.
std::span<std::byte> target(const Piece& piece, std::span<std::byte> buffer) {
  return piece.in_place ? piece.wanted.out : buffer.first(piece.size);
}

// Puts what came, `got` bytes or an error below zero, where it is wanted. Returns what is still missing.
Run settle(const Piece& piece, std::int64_t got, std::span<const std::byte> buffer) {
  const auto skip = static_cast<std::size_t>(piece.wanted.offset - piece.begin);
  const std::size_t came = got < 0 ? 0 : static_cast<std::size_t>(got);
  const std::size_t usable = came < skip ? 0 : std::min(came - skip, piece.wanted.out.size());
  if (!piece.in_place && usable > 0) std::memcpy(piece.wanted.out.data(), buffer.data() + skip, usable);
  return {piece.wanted.offset + usable, piece.wanted.out.subspan(usable)};
}

// In huge pages, as far as there are any: a request into small ones has a segment for each, and a disk that takes 256
// of them at most then has one request in flight where it should have several. Empty where there is no memory.
std::span<std::byte> map_buffers(std::size_t size) {
  if (size > std::numeric_limits<std::size_t>::max() / 2) return {};
  const std::size_t more = size < kHugePage ? 0 : kHugePage;
  void* const at = ::mmap(nullptr, size + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return {};
  auto* const first = static_cast<std::byte*>(at);
  if (more == 0) return {first, size};
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(at) % kHugePage) % kHugePage;
  if (before > 0) ::munmap(first, before);
  ::munmap(first + before + size, more - before);
  ::madvise(first + before, size, MADV_HUGEPAGE);
  return {first + before, size};
}

// The same file again, whatever its name is now.
Descriptor reopen(const File& file) {
  const std::string self = "/proc/self/fd/" + std::to_string(file.descriptor());
  return Descriptor(::open(self.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
}

// What memory must be a multiple of; nothing where reads by kAlignment won't do. Linux says so since 6.1.
std::optional<std::size_t> alignment_of_memory([[maybe_unused]] int descriptor) {
#ifdef STATX_DIOALIGN
  struct statx about {};
  if (::statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) == 0 && (about.stx_mask & STATX_DIOALIGN) != 0) {
    const std::size_t memory = about.stx_dio_mem_align, offset = about.stx_dio_offset_align;
    if (memory == 0 || offset == 0 || kAlignment % memory != 0 || kAlignment % offset != 0) return std::nullopt;
    return memory;
  }
#endif
  return kAlignment;
}

}  // namespace

// A lane that is this thread's for as long as the object lives.
class DirectReader::Taken {
 public:
  explicit Taken(const DirectReader& reader) : reader_(reader) {
    std::unique_lock lock(reader.mutex_);
    reader.freed_.wait(lock, [&] { return !reader.free_.empty(); });
    lane_ = reader.free_.back();
    reader.free_.pop_back();
  }
  ~Taken() {
    const std::lock_guard lock(reader_.mutex_);
    reader_.free_.push_back(lane_);
    reader_.freed_.notify_one();
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  const Lane& lane() const { return *lane_; }

 private:
  const DirectReader& reader_;
  const Lane* lane_ = nullptr;
};

std::unique_ptr<DirectReader> DirectReader::open(const File& file, unsigned lanes, std::size_t lane_bytes,
                                                 Engine engine) {
  Descriptor direct = reopen(file);
  if (!direct) return nullptr;
  const auto alignment = alignment_of_memory(direct.get());
  if (!alignment) return nullptr;
  std::unique_ptr<DirectReader> reader(new DirectReader(file, std::move(direct), *alignment));
  reader->add_lanes(std::max(lanes, 1U), lane_bytes, engine);
  return reader;
}

void DirectReader::add_lanes(unsigned count, std::size_t bytes, Engine engine) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();  // of what doesn't fit into a number
  const std::uint64_t each =
      base::checked_round_up(std::max<std::size_t>(bytes, 1), kDepth * kAlignment).value_or(kMost);
  const std::uint64_t all = base::checked_mul(count, each).value_or(kMost);
  buffers_ = map_buffers(all);
  if (buffers_.empty()) {
    throw Error(ErrorCode::budget, "the system has no " + format_bytes(all) + " of memory left for reading",
                {.file = file_.name()});
  }
  lanes_.resize(count);
  free_.reserve(count);
  for (unsigned i = count; i-- > 0;) {
    lanes_[i].buffer = buffers_.subspan(i * each, each);
    if (engine == Engine::automatic) lanes_[i].ring = Ring::make(kDepth);
    free_.push_back(&lanes_[i]);  // the last to come back is the next to go: an idle lane's memory isn't touched
  }
}

DirectReader::~DirectReader() {
  if (!buffers_.empty()) ::munmap(buffers_.data(), buffers_.size());
}

const char* DirectReader::engine() const noexcept {
  const bool any = std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.ring != nullptr; });
  return any ? "io_uring" : "pread";
}

void DirectReader::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > file_.size() || out.size() > file_.size() - offset) return file_.read_at(offset, out);  // says so
  if (out.empty()) return;
  const Taken taken(*this);
  if (taken.lane().ring) {
    read_many(taken.lane(), offset, out);
  } else {
    read_in_turn(taken.lane(), offset, out);
  }
}

// Nothing in here throws while a read is in flight.
void DirectReader::read_many(const Lane& lane, std::uint64_t offset, std::span<std::byte> out) const {
  Ring& ring = *lane.ring;
  const std::size_t share = lane.buffer.size() / kDepth;
  const auto buffer = [&](std::uint64_t slot) { return lane.buffer.subspan(slot * share, share); };
  Pieces pieces({offset, out}, memory_alignment_, kChunk, std::min(share, kMostPerCall));
  std::array<std::optional<Piece>, kDepth> slots;  // those in flight
  const std::uint64_t end = offset + out.size();
  std::uint64_t missing = end;  // the first byte that couldn't be read
  const auto start_next = [&] {
    const auto piece = pieces.next();
    if (!piece) return false;
    const auto slot = static_cast<std::size_t>(std::find(slots.begin(), slots.end(), std::nullopt) - slots.begin());
    if (ring.start(direct_.get(), piece->begin, target(*piece, buffer(slot)), slot)) {
      slots[slot] = piece;
    } else {
      missing = std::min(missing, piece->wanted.offset);
    }
    return true;
  };
  for (;;) {
    while (missing == end && ring.in_flight() < kDepth && start_next()) {
    }
    if (ring.in_flight() == 0) break;
    const Ring::Completion done = ring.wait();
    const Run rest = settle(*slots[done.tag], done.result, buffer(done.tag));
    slots[done.tag].reset();
    if (!rest.out.empty()) missing = std::min(missing, rest.offset);
  }
  if (missing != end) file_.read_at(missing, out.subspan(missing - offset));
}

void DirectReader::read_in_turn(const Lane& lane, std::uint64_t offset, std::span<std::byte> out) const {
  Pieces pieces({offset, out}, memory_alignment_, kReadInTurn, std::min(lane.buffer.size(), kMostPerCall));
  while (const auto piece = pieces.next()) {
    ssize_t got = 0;
    do {
      got = ::pread(direct_.get(), target(*piece, lane.buffer).data(), piece->size, static_cast<off_t>(piece->begin));
    } while (got < 0 && errno == EINTR);
    const Run rest = settle(*piece, got, lane.buffer);
    if (!rest.out.empty()) return file_.read_at(rest.offset, out.subspan(rest.offset - offset));
  }
}

}  // namespace headrace::io
