#include "base/gate.hpp"
#include "base/workers.hpp"
#include "flow/convert.hpp"
#include "flow/tensor_fetch.hpp"
#include "format/printable.hpp"
#include "io/page_cache.hpp"
#include "plan/draft.hpp"
#include "plan/in_memory.hpp"
#include "residency/differences.hpp"
#include "residency/lent_pages.hpp"
#include "residency/mapped_tensor.hpp"
#include "residency/past_cache.hpp"
#include "residency/read_ahead.hpp"

#include <headrace/disk_map.hpp>
#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace headrace {
namespace {

std::shared_ptr<const Plan::Impl> plan_map(std::span<const std::string> locations, const DiskMapOptions& options) {
  std::vector<Input> inputs;
  for (const std::string& location : locations) inputs.push_back({location});
  const ConvertOptions conversion = plan::conversion_into_memory(options);
  auto plan = plan::resolve(plan::draft_conversion(
      {.inputs = inputs, .output = {}, .to = Format::safetensors, .options = conversion, .in_memory = true}));
  for (const plan::Source& source : plan->sources) {
    if (!source->forward_only()) continue;
    throw Error(ErrorCode::invalid_argument, "a map needs a source that can be read anywhere, and this one is a stream",
                {.file = source->location, .hint = "save it to a file first, and give that"});
  }
  if (!plan->unmeasured.empty()) {
    const std::uint32_t tensor = plan->unmeasured.front();
    throw Error(ErrorCode::invalid_argument, "a rule wants the data looked at, and a map reads nothing ahead",
                {.file = plan->file_of(tensor).name(),
                 .tensor = format::printable(plan->tensors[tensor].name),
                 .hint = "name a type, or convert the checkpoint first"});
  }
  return plan;
}

// What is left of the map's memory for what its cache loses.
std::uint64_t charge(const Plan::Impl& plan, base::Gate& gate) {
  flow::charge_plan(plan, gate);
  const std::uint64_t memory = gate.available();
  gate.charge(residency::PastCache::ahead_of(memory) + residency::PastCache::staging_of(memory), "reading ahead");
  return memory;
}

}  // namespace

class DiskMap::Impl {
 public:
  Impl(std::span<const std::string> locations, const DiskMapOptions& options)
      : plan_(plan_map(locations, options)),
        gate_(options.memory),
        fetch_(*plan_, gate_, options.threads),
        memory_(charge(*plan_, gate_)),
        past_cache_({*plan_, tensors_, in_plan_}, ahead_, memory_),
        lent_(options.memory),
        ahead_(residency::PastCache::ahead_of(memory_),
               [this](std::uint32_t index, How how) { return fetched(index, how); }) {
    name_tensors(options.rename);
  }
  ~Impl() {
    ahead_.stop();
    flow::interrupt_sources(*plan_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::span<const TensorInfo> tensors() const noexcept { return tensors_; }
  const std::shared_ptr<Device>& host() const noexcept { return host_; }

  std::optional<std::uint32_t> index_of(std::string_view name) const noexcept {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? std::nullopt : std::optional(at->second);
  }
  std::uint32_t require_index(std::string_view name) const {
    if (const auto index = index_of(name)) return *index;
    throw Error(ErrorCode::invalid_argument, "there is no tensor of this name",
                {.file = plan_->output.string(), .tensor = format::printable(name)});
  }

  void read(std::uint32_t index, std::span<std::byte> out) const {
    const TensorInfo& info = tensors_[index];
    if (out.size() != info.bytes) {
      throw Error(ErrorCode::invalid_argument, "the memory hasn't the size of the tensor",
                  {.file = plan_->file_of(in_plan_[index]).name(),
                   .tensor = format::printable(info.name),
                   .expected = std::to_string(info.bytes) + " bytes",
                   .found = std::to_string(out.size())});
    }
    if (const auto held = ahead_.find(index)) {
      std::ranges::copy(std::span(held->memory.get(), held->size), out.begin());
    } else if (!past_cache_.read(index, out)) {
      fetch_.read(in_plan_[index], out);
      bytes_read_ += plan_->bytes_in_inputs(in_plan_[index]);
    }
    require_unchanged(index);
    ++reads_;
    bytes_given_ += out.size();
  }

  void read_part(std::uint32_t index, std::uint64_t offset, std::span<std::byte> out) const {
    const std::uint64_t whole = tensors_[index].bytes;
    const auto held = ahead_.find(index);
    if (held && offset <= whole && out.size() <= whole - offset) {
      std::ranges::copy(std::span(held->memory.get() + offset, out.size()), out.begin());
    } else if (!past_cache_.read_part(index, offset, out)) {
      fetch_.read_part(in_plan_[index], offset, out);
      bytes_read_ += whole == 0 ? 0 : out.size() * plan_->bytes_in_inputs(in_plan_[index]) / whole;
    }
    require_unchanged(index);
    ++reads_;
    bytes_given_ += out.size();
  }

  std::optional<MappedTensor> map(std::uint32_t index, Around around) const {
    auto pages = MappedTensor::Pages::of(plan_, in_plan_[index], tensors_[index].name, around);
    if (!pages) return std::nullopt;
    pages->require_intact();
    MappedTensor mapped;
    mapped.tensor = in_memory(index, {pages->mapping(), pages->mapping()->bytes().data()});
    mapped.pages_ = std::move(pages);
    return mapped;
  }

  std::optional<LoadedTensor> view(std::uint32_t index) const {
    const std::uint32_t tensor = in_plan_[index];
    if (!residency::is_used_as_it_lies(*plan_, tensor)) return std::nullopt;
    const TensorInfo& from = plan_->source_of(tensor);
    auto lent = lent_.lend(*plan_->file_of(tensor).file(), from.offset, static_cast<std::size_t>(from.bytes));
    if (!lent.is_there) {
      const auto use = past_cache_.begin_use(index);
      const bool brought = !use.block.memory && lent.memory && (use.is_cached || lent.bring());
      if (!brought) {
        lent = {};
        lent_.forget(*plan_->file_of(tensor).file(), from.offset);  // none of it was looked at
        return use.block.memory ? std::optional(past_cache(index, use.block)) : std::nullopt;
      }
    }
    require_unchanged(index);
    ++reads_;
    bytes_read_ += from.bytes;
    bytes_given_ += from.bytes;
    return in_memory(index, std::move(lent.memory));
  }

  // True when it has to be read.
  bool prefetch(std::uint32_t index) const {
    ++prefetched_;
    bool wanted = false, distant = false;
    for_ranges(index, [&](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      const io::File* file = source.file();
      distant |= file == nullptr;
      wanted |= file == nullptr || residency::in_cache(*file, first, bytes) != residency::InCache::all;
    });
    if (!wanted || ahead_.knows(index)) return wanted;
    const How how = distant ? How::held : past_cache_.wants_ahead(index) ? How::once : How::into_cache;
    ahead_.want(index, how, tensors_[index].bytes);
    return true;
  }

  std::optional<LoadedTensor> load_past_cache(std::uint32_t index) const {
    if (!residency::is_used_as_it_lies(*plan_, in_plan_[index])) return std::nullopt;
    const auto use = past_cache_.begin_use(index);
    return use.block.memory ? std::optional(past_cache(index, use.block)) : std::nullopt;
  }

  LoadedTensor in_memory(std::uint32_t index, std::shared_ptr<std::byte> memory) const {
    LoadedTensor tensor = empty_tensor(index);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.get());
    tensor.buffer = host_->wrap(address, static_cast<std::size_t>(tensors_[index].bytes), 0, std::move(memory));
    return tensor;
  }

  LoadedTensor empty_tensor(std::uint32_t index) const {
    const TensorInfo& info = tensors_[index];
    return {.name = std::string(info.name),
            .dtype = info.dtype,
            .shape = {info.shape.begin(), info.shape.end()},
            .index = index};
  }

  void release(std::uint32_t index, bool page_cache) const {
    ahead_.release(index);
    past_cache_.release(index);
    if (const io::File* file = plan_->file_of(in_plan_[index]).file())
      lent_.forget(*file, plan_->source_of(in_plan_[index]).offset);
    if (ahead_.bytes() == 0) past_cache_.trim();
    if (!page_cache) return;
    for_ranges(index, [](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      if (const io::File* file = source.file()) io::drop_cached(*file, first, bytes);
    });
  }

  DiskMapStatistics statistics() const {
    return {.reads = reads_,
            .bytes_read = bytes_read_ + past_cache_.bytes_read(),
            .bytes_given = bytes_given_,
            .prefetched = prefetched_,
            .cached_bytes = ahead_.bytes()};
  }

  std::string file() const { return plan_->output.string(); }
  const std::string& file_of(std::uint32_t index) const { return plan_->file_of(in_plan_[index]).name(); }
  std::vector<std::string> files() const {
    std::vector<std::string> paths;
    std::unordered_set<const io::File*> seen;
    for (const std::uint32_t tensor : in_plan_) {
      const io::File* file = plan_->file_of(tensor).file();
      if (file != nullptr && seen.insert(file).second) paths.push_back(file->name());
    }
    return paths;
  }

 private:
  using How = residency::ReadAhead::How;
  using Bytes = residency::ReadAhead::Bytes;

  void name_tensors(const std::function<std::string(std::string_view)>& rename) {
    const std::size_t count = plan_->tensors.size();
    tensors_.reserve(count);
    in_plan_.reserve(count);
    by_name_.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      TensorInfo info = plan_->tensors[i];
      if (rename) info.name = names_.emplace_back(rename(info.name));
      if (info.name.empty()) continue;
      if (!by_name_.emplace(info.name, static_cast<std::uint32_t>(tensors_.size())).second) {
        throw Error(ErrorCode::conflict, "two tensors would have one name",
                    {.file = plan_->file_of(i).name(),
                     .tensor = format::printable(info.name),
                     .found = fmt::format("'{}' is the second", format::printable(plan_->tensors[i].name)),
                     .hint = "rename gives each a name of its own"});
      }
      tensors_.push_back(info);
      in_plan_.push_back(i);
    }
  }

  template <class Visit>
  void for_ranges(std::uint32_t index, const Visit& visit) const {
    for (const plan::Range& range : plan_->ranges_of(in_plan_[index])) {
      const TensorInfo& from = plan_->at(range.from);
      visit(plan_->file_of(range.from), from.offset, from.bytes);
    }
  }

  // After reading, so that what changes meanwhile is seen too: bytes of two files must not become one model.
  void require_unchanged(std::uint32_t index) const {
    for_ranges(index, [&](const io::ByteSource& source, std::uint64_t, std::uint64_t) {
      if (source.file() != nullptr) residency::require_unchanged(*source.file(), tensors_[index].name);
    });
  }

  Bytes fetched(std::uint32_t index, How how) const {
    if (how == How::once) {
      if (Bytes bytes = past_cache_.block(index); bytes.memory) return bytes;
    }
    for_ranges(index, [&](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      if (source.file() != nullptr) io::bring_into_cache(*source.file(), first, bytes, ahead_.stopped());
    });
    if (how != How::held) return {};
    const auto bytes = std::make_shared<std::vector<std::byte>>(tensors_[index].bytes);
    fetch_.read(in_plan_[index], *bytes);
    bytes_read_ += plan_->bytes_in_inputs(in_plan_[index]);
    return {{bytes, bytes->data()}, bytes->size()};
  }

  LoadedTensor past_cache(std::uint32_t index, const Bytes& block) const {
    require_unchanged(index);
    ++reads_;
    bytes_given_ += block.size;
    return in_memory(index, block.memory);
  }

  const std::shared_ptr<const Plan::Impl> plan_;
  mutable base::Gate gate_;
  const flow::TensorFetch fetch_;
  const std::shared_ptr<Device> host_ = open_device("host");
  std::deque<std::string> names_;  // that were changed
  std::vector<TensorInfo> tensors_;
  std::vector<std::uint32_t> in_plan_;  // beside `tensors_`: their indexes in the plan
  std::unordered_map<std::string_view, std::uint32_t> by_name_;
  mutable std::atomic<std::uint64_t> reads_{0}, bytes_read_{0}, bytes_given_{0}, prefetched_{0};
  const std::uint64_t memory_;
  mutable residency::PastCache past_cache_;
  mutable residency::LentPages lent_;
  mutable residency::ReadAhead ahead_;  // dropped first: its thread uses the rest
};

DiskMap::DiskMap(std::span<const std::string> locations, const DiskMapOptions& options)
    : impl_(std::make_unique<Impl>(locations, options)) {}
DiskMap::DiskMap(const std::string& location, const DiskMapOptions& options)
    : DiskMap(std::span(&location, 1), options) {}
DiskMap::DiskMap(DiskMap&&) noexcept = default;
DiskMap& DiskMap::operator=(DiskMap&&) noexcept = default;
DiskMap::~DiskMap() = default;

std::span<const TensorInfo> DiskMap::tensors() const noexcept { return impl_->tensors(); }

const TensorInfo* DiskMap::find(std::string_view name) const noexcept {
  const auto index = impl_->index_of(name);
  return index ? &impl_->tensors()[*index] : nullptr;
}

const std::string& DiskMap::file_of(std::string_view name) const { return impl_->file_of(impl_->require_index(name)); }

std::vector<std::string> DiskMap::files() const { return impl_->files(); }

void DiskMap::read(std::string_view name, std::span<std::byte> out) const {
  impl_->read(impl_->require_index(name), out);
}

void DiskMap::read_part(std::string_view name, std::uint64_t offset, std::span<std::byte> out) const {
  impl_->read_part(impl_->require_index(name), offset, out);
}

std::optional<MappedTensor> DiskMap::map(std::string_view name, Around around) const {
  return impl_->map(impl_->require_index(name), around);
}

std::optional<LoadedTensor> DiskMap::view(std::string_view name) const {
  return impl_->view(impl_->require_index(name));
}

LoadedTensor DiskMap::load(std::string_view name, const std::shared_ptr<Device>& device) const {
  const std::uint32_t index = impl_->require_index(name);
  const std::uint64_t bytes = impl_->tensors()[index].bytes;
  LoadedTensor tensor = impl_->empty_tensor(index);
  const auto host = device && device->kind() == DeviceKind::host ? device : impl_->host();
  Buffer read = host->allocate(bytes);
  impl_->read(index, read.host_bytes());
  if (!device || device == host) {
    tensor.buffer = std::move(read);
    return tensor;
  }
  tensor.buffer = device->allocate(bytes);
  device->upload(tensor.buffer, 0, read.host_bytes()).wait();
  return tensor;
}

std::optional<LoadedTensor> DiskMap::load_past_cache(std::string_view name) const {
  return impl_->load_past_cache(impl_->require_index(name));
}

std::size_t DiskMap::prefetch(std::span<const std::string> names) const {
  std::vector<std::uint32_t> indexes;
  for (const std::string& name : names) indexes.push_back(impl_->require_index(name));
  return static_cast<std::size_t>(
      std::ranges::count_if(indexes, [&](std::uint32_t index) { return impl_->prefetch(index); }));
}

void DiskMap::release(std::span<const std::string> names, bool page_cache) const {
  for (const std::string& name : names) impl_->release(impl_->require_index(name), page_cache);
}

void DiskMap::require(std::span<const TensorSpec> specs) const { residency::require(*this, specs, impl_->file()); }

DiskMapStatistics DiskMap::statistics() const { return impl_->statistics(); }

}  // namespace headrace
