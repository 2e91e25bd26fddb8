#include "residency/maker.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/retype.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

namespace headrace::residency {
namespace {

// Elements that are whole blocks of every type: their blocks have a power of two, of at most this many.
constexpr std::uint64_t kGranule = 256;

LoadedTensor empty_tensor(const UnitTensor& tensor, Level level) {
  return {
      .name = tensor.name, .dtype = tensor.dtypes[level], .shape = tensor.shape, .buffer = {}, .index = tensor.index};
}

// The numbers of a piece in one type, and where they are wanted in it.
struct Stage {
  struct Place {
    Buffer* buffer;
    bool on_device;
  };
  DType dtype;
  std::vector<Place> wanted = {};
};

}  // namespace

// One unit on its way.
class Maker::Pass {
 public:
  Pass(Maker& maker, const Unit& unit, std::uint32_t number, const std::function<void()>& check)
      : maker_(maker), unit_(unit), number_(number), check_(check), kit_(maker.kits_) {}

  void make(std::size_t i, const Material& material, const Wanted& wanted) {
    const UnitTensor& tensor = unit_.tensors[i];
    const Level from = material.kept ? *unit_.device : material.host ? *unit_.host : kOnDisk;
    std::vector<Stage> stages{{tensor.dtypes[from]}};
    for (Level level = from; level < kLevels; level = static_cast<Level>(level + 1)) {
      if (tensor.dtypes[level] != stages.back().dtype) stages.push_back({tensor.dtypes[level]});
      if (wanted.host && level == *unit_.host) want(stages.back(), tensor, level, *wanted.host, false);
      if (wanted.kept && level == *unit_.device) want(stages.back(), tensor, level, *wanted.kept, true);
      if (!wanted.computation || level != kComputation) continue;
      if (wanted.only_differing && !unit_.differs(tensor)) {
        wanted.computation->push_back({});
      } else {
        want(stages.back(), tensor, level, *wanted.computation, true);
      }
    }
    while (!stages.empty() && stages.back().wanted.empty()) stages.pop_back();
    if (!stages.empty()) run(i, material, stages);
  }

  void finish() {
    for (Upload& upload : uploads_) {
      upload.wait();
      upload = {};
    }
  }

 private:
  void want(Stage& stage, const UnitTensor& tensor, Level level, Form& form, bool on_device) {
    LoadedTensor made = empty_tensor(tensor, level);
    const std::uint64_t bytes = tensor.bytes(level);
    made.buffer = on_device ? maker_.spares_.allocate(bytes) : maker_.host_->allocate(static_cast<std::size_t>(bytes));
    form.push_back(std::move(made));
    stage.wanted.push_back({&form.back().buffer, on_device});
  }

  // Pieces of whole blocks, as large as the kit has room for in the widest of the types.
  void run(std::size_t i, const Material& material, const std::vector<Stage>& stages) {
    const UnitTensor& tensor = unit_.tensors[i];
    if (tensor.stored_bytes == 0) return;
    if (info(tensor.dtypes[kOnDisk]).block_bytes == 0) return run_text(i, material, stages);
    std::uint64_t widest = 0;
    for (const Stage& stage : stages) widest = std::max(widest, *bytes_of(stage.dtype, kGranule));
    const std::uint64_t most = maker_.kits_.part_bytes() / widest * kGranule;
    for (std::uint64_t first = 0; first < tensor.elements; first += most) {
      const std::uint64_t elements = std::min(most, tensor.elements - first);
      check_();
      const auto at = [&](DType dtype, std::uint64_t n) { return static_cast<std::size_t>(*bytes_of(dtype, n)); };
      std::span<std::byte> before;
      for (std::size_t s = 0; s < stages.size(); ++s) {
        const Stage& stage = stages[s];
        const std::size_t offset = at(stage.dtype, first), bytes = at(stage.dtype, elements);
        const Spot spot = spot_for(stage, s, offset, bytes);
        if (s == 0) {
          take(i, material, offset, spot.bytes);
        } else {
          cast(stages[s - 1].dtype, before, stage.dtype, spot.bytes, first);
        }
        deliver(stage, offset, spot);
        before = spot.bytes;
      }
    }
  }

  // Text has no numbers: it goes byte by byte.
  void run_text(std::size_t i, const Material& material, const std::vector<Stage>& stages) {
    const std::size_t whole = static_cast<std::size_t>(unit_.tensors[i].stored_bytes);
    for (std::size_t offset = 0; offset < whole; offset += maker_.kits_.part_bytes()) {
      check_();
      const std::size_t bytes = std::min(maker_.kits_.part_bytes(), whole - offset);
      const Spot spot = spot_for(stages.front(), 0, offset, bytes);
      take(i, material, offset, spot.bytes);
      deliver(stages.front(), offset, spot);
    }
  }

  // Where a piece is made: where it is wanted if the processor can write there, else in staging if it is uploaded.
  struct Spot {
    std::span<std::byte> bytes;
    const Buffer* in = nullptr;
    std::optional<std::size_t> staging = {};
  };
  Spot spot_for(const Stage& stage, std::size_t number, std::size_t offset, std::size_t bytes) {
    for (const auto& [buffer, on_device] : stage.wanted) {
      if (!buffer->host_bytes().empty()) return {buffer->host_bytes().subspan(offset, bytes), buffer};
    }
    if (stage.wanted.empty()) return {kit_.scratch(number % 2).first(bytes)};
    const std::size_t slot = next_staging();
    return {kit_.staging(slot).first(bytes), nullptr, slot};
  }

  std::size_t next_staging() {
    const std::size_t slot = turn_++ % uploads_.size();
    uploads_[slot].wait();
    return slot;
  }

  void take(std::size_t i, const Material& material, std::size_t offset, std::span<std::byte> out) {
    const auto begin = Clock::now();
    if (material.kept) {
      maker_.device_->download((*material.kept)[i].buffer, offset, out);
      maker_.trace_.add("download", begin, number_, out.size());
    } else if (material.host) {
      std::memcpy(out.data(), (*material.host)[i].buffer.host_bytes().data() + offset, out.size());
      maker_.trace_.add("copy", begin, number_, out.size());
    } else {
      unit_.map->read_part(unit_.tensors[i].name, offset, out);
      maker_.bytes_read_ += out.size();
      maker_.trace_.add("read", begin, number_, out.size());
    }
  }

  void cast(DType from, std::span<const std::byte> src, DType to, std::span<std::byte> out, std::uint64_t first) {
    const auto begin = Clock::now();
    try {
      retype(from, src, to, out, maker_.nonfinite_);
    } catch (const Error& error) {
      ErrorDetail detail = error.detail();
      detail.found = fmt::format("elements are counted from the tensor's element {} on", first);
      throw Error(error.code(), error.problem(), std::move(detail));
    }
    maker_.trace_.add("convert", begin, number_, out.size());
  }

  // A second buffer that wants the same bytes gets a copy of its own.
  void deliver(const Stage& stage, std::size_t offset, const Spot& spot) {
    std::optional<std::size_t> staged = spot.staging;
    for (const auto& [buffer, on_device] : stage.wanted) {
      if (on_device) maker_.bytes_uploaded_ += spot.bytes.size();
      if (buffer == spot.in) continue;
      if (const auto there = buffer->host_bytes(); !there.empty()) {
        std::memcpy(there.data() + offset, spot.bytes.data(), spot.bytes.size());
        continue;
      }
      const std::size_t slot = staged ? *std::exchange(staged, std::nullopt) : next_staging();
      const auto source = kit_.staging(slot).first(spot.bytes.size());
      if (source.data() != spot.bytes.data()) std::memcpy(source.data(), spot.bytes.data(), source.size());
      const auto begin = Clock::now();
      uploads_[slot] = maker_.device_->upload(*buffer, offset, source);
      maker_.trace_.add("upload", begin, number_, source.size());
    }
  }

  Maker& maker_;
  const Unit& unit_;
  const std::uint32_t number_;
  const std::function<void()>& check_;
  Kits::Loan kit_;
  std::array<Upload, 2> uploads_;  // after the kit: they end before it goes
  std::size_t turn_ = 0;
};

Maker::Maker(std::shared_ptr<Device> device, Spares& spares, const ResidencyOptions& options, unsigned threads,
             Trace& trace)
    : device_(std::move(device)),
      host_(open_device("host")),
      spares_(spares),
      nonfinite_(options.nonfinite),
      kits_(device_, options.memory, threads),
      trace_(trace) {}

void Maker::make(const Unit& unit, std::uint32_t number, const Material& material, const Wanted& wanted,
                 const std::function<void()>& check) {
  Pass pass(*this, unit, number, check);
  for (Form* form : {wanted.host, wanted.kept, wanted.computation}) {
    if (form) form->reserve(unit.tensors.size());
  }
  for (std::size_t i = 0; i < unit.tensors.size(); ++i) {
    try {
      pass.make(i, material, wanted);
    } catch (const Error& error) {  // devices and codecs know no tensors
      if (!error.detail().tensor.empty() || error.code() == ErrorCode::cancelled) throw;
      ErrorDetail detail = error.detail();
      detail.tensor = format::printable(unit.tensors[i].name);
      throw Error(error.code(), error.problem(), std::move(detail));
    }
  }
  pass.finish();
}

}  // namespace headrace::residency
