#include "base/gate.hpp"
#include "base/workers.hpp"
#include "flow/convert.hpp"
#include "flow/tensor_fetch.hpp"
#include "format/printable.hpp"
#include "io/page_cache.hpp"
#include "plan/draft.hpp"
#include "plan/in_memory.hpp"
#include "residency/mapped_tensor.hpp"

#include <headrace/disk_map.hpp>
#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
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

// What a caller declared and what is there, as lines of one error.
class Differences {
 public:
  void add(const char* kind, std::string_view name, const std::string& how = {}) {
    constexpr std::size_t kMostTold = 50;
    if (++count_ > kMostTold) return;
    text_ += fmt::format("{}{} '{}'{}", text_.empty() ? "" : "; ", kind, format::printable(name), how);
  }
  bool empty() const noexcept { return count_ == 0; }
  std::string text() const { return fmt::format("{} difference{}: {}", count_, count_ == 1 ? "" : "s", text_); }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

}  // namespace

// Fetches what will be wanted, one tensor after the other, on a thread of its own that is there while there is work.
class DiskMap::Impl {
 public:
  Impl(std::span<const std::string> locations, const DiskMapOptions& options)
      : plan_(plan_map(locations, options)), gate_(options.memory), fetch_(*plan_, gate_, options.threads) {
    flow::charge_plan(*plan_, gate_);
    name_tensors(options.rename);
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      wanted_.clear();
    }
    flow::interrupt_sources(*plan_);
    if (fetcher_.joinable()) fetcher_.join();
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
    if (const auto cached = cached_tensor(index)) {
      std::ranges::copy(*cached, out.begin());
    } else {
      fetch_.read(in_plan_[index], out);
      require_unchanged(index);
      bytes_read_ += plan_->bytes_in_inputs(in_plan_[index]);
    }
    ++reads_;
    bytes_given_ += out.size();
  }

  void read_part(std::uint32_t index, std::uint64_t offset, std::span<std::byte> out) const {
    const std::uint64_t whole = tensors_[index].bytes;
    const auto cached = cached_tensor(index);
    if (cached && offset <= whole && out.size() <= whole - offset) {
      std::ranges::copy(std::span(*cached).subspan(offset, out.size()), out.begin());
    } else {
      fetch_.read_part(in_plan_[index], offset, out);
      require_unchanged(index);
      bytes_read_ += whole == 0 ? 0 : out.size() * plan_->bytes_in_inputs(in_plan_[index]) / whole;
    }
    ++reads_;
    bytes_given_ += out.size();
  }

  std::optional<MappedTensor> map(std::uint32_t index, MapEdges edges) const {
    const TensorInfo& info = tensors_[index];
    auto pages = MappedTensor::Pages::of(plan_, in_plan_[index], info.name, edges);
    if (!pages) return std::nullopt;
    pages->require_intact();
    const auto bytes = pages->mapping()->bytes();
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    MappedTensor mapped;
    mapped.tensor = {.name = std::string(info.name),
                     .dtype = info.dtype,
                     .shape = {info.shape.begin(), info.shape.end()},
                     .buffer = host_->wrap(address, bytes.size(), 0, pages->mapping()),
                     .index = index};
    mapped.pages_ = std::move(pages);
    ++reads_;
    bytes_read_ += bytes.size();
    bytes_given_ += bytes.size();
    return mapped;
  }

  void prefetch(std::uint32_t index) const {
    ++prefetched_;
    bool wanted = false;
    for_ranges(index, [&](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      const io::File* file = source.file();
      wanted |= file == nullptr || !io::is_cached(*file, first, bytes);
    });
    if (wanted) fetch_later(index);
  }

  void release(std::uint32_t index, bool page_cache) const {
    {
      const std::lock_guard lock(mutex_);
      cache_.erase(index);
      std::erase(wanted_, index);
    }
    if (!page_cache) return;
    for_ranges(index, [](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      if (const io::File* file = source.file()) io::drop_cached(*file, first, bytes);
    });
  }

  DiskMapStatistics statistics() const {
    DiskMapStatistics statistics{
        .reads = reads_, .bytes_read = bytes_read_, .bytes_given = bytes_given_, .prefetched = prefetched_};
    const std::lock_guard lock(mutex_);
    for (const auto& [index, bytes] : cache_) statistics.cached_bytes += bytes->size();
    return statistics;
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
  using Cached = std::shared_ptr<const std::vector<std::byte>>;

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

  Cached cached_tensor(std::uint32_t index) const {
    const std::lock_guard lock(mutex_);
    const auto at = cache_.find(index);
    return at == cache_.end() ? nullptr : at->second;
  }

  void fetch_later(std::uint32_t index) const {
    const std::lock_guard lock(mutex_);
    if (cache_.contains(index) || std::ranges::find(wanted_, index) != wanted_.end()) return;
    wanted_.push_back(index);
    if (fetching_) return;
    if (fetcher_.joinable()) fetcher_.join();  // it has left its loop
    try {
      fetcher_ = std::thread([this] { fetch_wanted(); });
      fetching_ = true;
    } catch (const std::system_error&) {
      wanted_.clear();  // no thread is to be had: nothing is fetched ahead
    }
  }

  // Of files of this machine, the system has the copy.
  Cached fetched(std::uint32_t index) const {
    bool distant = false;
    for_ranges(index, [&](const io::ByteSource& source, std::uint64_t first, std::uint64_t bytes) {
      const io::File* file = source.file();
      distant |= file == nullptr;
      if (file != nullptr) io::bring_into_cache(*file, first, bytes, ended_);
    });
    if (!distant) return nullptr;
    std::vector<std::byte> bytes(tensors_[index].bytes);
    fetch_.read(in_plan_[index], bytes);
    bytes_read_ += plan_->bytes_in_inputs(in_plan_[index]);
    return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  }

  void fetch_wanted() const {
    for (std::unique_lock lock(mutex_);;) {
      if (wanted_.empty()) {
        fetching_ = false;
        return;
      }
      const std::uint32_t index = wanted_.front();
      wanted_.pop_front();
      lock.unlock();
      Cached cached;
      try {
        cached = fetched(index);
      } catch (const std::exception&) {
        // Whoever reads it will meet the same, and be told.
      }
      lock.lock();
      if (cached && !ended_) cache_[index] = std::move(cached);
    }
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
  mutable std::mutex mutex_;  // of what follows
  mutable std::deque<std::uint32_t> wanted_;
  mutable std::unordered_map<std::uint32_t, Cached> cache_;
  mutable bool fetching_ = false;
  mutable std::atomic<bool> ended_{false};
  mutable std::thread fetcher_;
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

std::optional<MappedTensor> DiskMap::map(std::string_view name, MapEdges edges) const {
  return impl_->map(impl_->require_index(name), edges);
}

LoadedTensor DiskMap::load(std::string_view name, const std::shared_ptr<Device>& device) const {
  const std::uint32_t index = impl_->require_index(name);
  const TensorInfo& info = impl_->tensors()[index];
  LoadedTensor tensor{.name = std::string(info.name),
                      .dtype = info.dtype,
                      .shape = {info.shape.begin(), info.shape.end()},
                      .index = index};
  const auto host = device && device->kind() == DeviceKind::host ? device : impl_->host();
  Buffer read = host->allocate(info.bytes);
  impl_->read(index, read.host_bytes());
  if (!device || device == host) {
    tensor.buffer = std::move(read);
    return tensor;
  }
  tensor.buffer = device->allocate(info.bytes);
  device->upload(tensor.buffer, 0, read.host_bytes()).wait();
  return tensor;
}

void DiskMap::prefetch(std::span<const std::string> names) const {
  std::vector<std::uint32_t> indexes;
  for (const std::string& name : names) indexes.push_back(impl_->require_index(name));
  for (const std::uint32_t index : indexes) impl_->prefetch(index);
}

void DiskMap::release(std::span<const std::string> names, bool page_cache) const {
  for (const std::string& name : names) impl_->release(impl_->require_index(name), page_cache);
}

void DiskMap::require(std::span<const TensorSpec> specs) const {
  Differences differences;
  std::unordered_set<std::string_view> wanted;
  for (const TensorSpec& spec : specs) {
    wanted.insert(spec.name);
    const TensorInfo* info = find(spec.name);
    if (info == nullptr) {
      differences.add("missing", spec.name);
    } else if (!std::ranges::equal(info->shape, spec.shape)) {
      differences.add("mismatched", spec.name,
                      fmt::format(": {} instead of {}", to_string(info->shape), to_string(Shape(spec.shape))));
    } else if (spec.from && info->dtype != *spec.from) {
      differences.add("mismatched", spec.name,
                      fmt::format(": {} instead of {}", headrace::name(info->dtype), headrace::name(*spec.from)));
    }
  }
  for (const TensorInfo& info : tensors()) {
    if (!wanted.contains(info.name)) differences.add("unexpected", info.name);
  }
  if (differences.empty()) return;
  throw Error(
      ErrorCode::conflict, "the checkpoint's tensors aren't those that are expected",
      {.file = impl_->file(), .expected = fmt::format("{} tensors", specs.size()), .found = differences.text()});
}

DiskMapStatistics DiskMap::statistics() const { return impl_->statistics(); }

}  // namespace headrace
