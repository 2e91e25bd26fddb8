#include "flow/loading/loader.hpp"

#include "flow/convert.hpp"
#include "format/printable.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <exception>
#include <iterator>
#include <string>
#include <utility>

namespace headrace::flow {
namespace {

constexpr std::chrono::milliseconds kTick{100};                // between two reports of progress
constexpr std::uint64_t kPopulated = std::uint64_t{32} << 20;  // in runs that a disk reads at its full speed
constexpr std::uint64_t kSmallestCopied = std::uint64_t{1} << 20;
constexpr std::uint64_t kSmallestSlot = std::uint64_t{64} << 10, kLargestSlot = std::uint64_t{4} << 20;

// Gathering goes to the host, whatever the device is.
std::shared_ptr<Device> first_device(const std::shared_ptr<Device>& device, const LoadOptions& options) {
  return options.stream_weights ? device : open_device("host");
}

// Two slots a worker: one is filled while the other is on its way.
std::size_t slot_count(unsigned threads) { return std::max(2 * threads, 4U); }

std::uint64_t slot_bytes(const base::Gate& gate, unsigned threads) {
  const std::uint64_t share = gate.available() / 2 / slot_count(threads);
  return std::clamp(share / kSmallestSlot * kSmallestSlot, kSmallestSlot, kLargestSlot);
}

std::shared_ptr<StagingRing> make_ring(const std::shared_ptr<Device>& device, base::Gate& gate, unsigned threads) {
  if (device->kind() == DeviceKind::host) return nullptr;  // it is filled in place
  const std::uint64_t bytes = slot_bytes(gate, threads);
  gate.charge(bytes * slot_count(threads), "the staging memory of " + device->name());
  return std::make_shared<StagingRing>(device, bytes, slot_count(threads));
}

PieceSizes sizes_for(const base::Gate& gate, unsigned threads, unsigned reads_at_once, const HostFiles& files,
                     const StagingRing* ring) {
  PieceSizes sizes = piece_sizes(gate.available(), threads, reads_at_once > 0);
  if (files.populates()) sizes.copied = kPopulated;
  // What is made in place and not taken yet is within the budget: each worker shall find room for a piece.
  const std::uint64_t share = std::min(gate.budget(), std::max(gate.budget() / threads, kSmallestCopied));
  sizes.copied = std::min(sizes.copied, share);
  if (ring == nullptr) return sizes;
  sizes.converted = std::min<std::uint64_t>(sizes.converted, ring->slot_bytes());
  sizes.gathered = std::min<std::uint64_t>(sizes.gathered, ring->slot_bytes());
  sizes.copied = ring->slot_bytes();
  return sizes;
}

unsigned charge_and_count(const Plan::Impl& plan, base::Gate& gate) {
  charge_plan(plan, gate);
  return worker_count(plan);
}

bool is_on_host(const Device& device) { return device.kind() == DeviceKind::host; }

}  // namespace

// Members are made in the order in which memory is promised: plan, direct reads, staging; pieces have what is left.
Loader::Loader(std::shared_ptr<const Plan::Impl> plan, std::shared_ptr<Device> device, LoadOptions options, Held held,
               Clock::time_point begun)
    : plan_(std::move(plan)),
      device_(std::move(device)),
      first_(first_device(device_, options)),
      options_(std::move(options)),
      begun_(begun),
      gate_(options_.memory),
      threads_(charge_and_count(*plan_, gate_)),
      files_(*plan_, options_.host_reads, is_on_host(*first_), threads_, gate_),
      ring_(make_ring(first_, gate_, threads_)),
      sizes_(sizes_for(gate_, threads_, reads_at_once(*plan_), files_, ring_.get())),
      queue_(*plan_, sizes_),
      slots_(reads_at_once(*plan_)),
      arrivals_(options_.memory),
      destinations_(*plan_, device_, options_, files_),
      sink_(*plan_, destinations_, arrivals_, files_, ring_.get()),
      worker_(*plan_, gate_, sink_, sizes_, slots_, nullptr),
      meter_(*plan_) {
  options_.source.cancel.throw_if_cancelled();
  require_room(held);
  on_cancel_ = options_.source.cancel.on_cancel([this] { stop(); });
  start();
}

Loader::~Loader() {
  if (!over_) stop();
}

// Better said now than when most of it has come.
void Loader::require_room(Held held) const {
  if (is_on_host(*device_)) return;
  const DeviceMemory memory = device_->memory();
  std::uint64_t wanted = 0;
  for (std::uint32_t i = 0; i < plan_->tensors.size(); ++i) {
    const TensorInfo& tensor = plan_->tensors[i];
    if (tensor.elements < options_.host_threshold || options_.allocate) continue;
    if (memory.largest != 0 && tensor.bytes > memory.largest) {
      throw Error(ErrorCode::unsupported, "the device takes no tensor of this size",
                  {.file = device_->name(),
                   .tensor = format::printable(tensor.name),
                   .expected = "at most " + format_bytes(memory.largest),
                   .found = format_bytes(tensor.bytes),
                   .hint = "a smaller type makes it smaller, or keep it on the host"});
    }
    wanted += tensor.bytes;
  }
  if (held == Held::some || !memory.free || wanted <= *memory.free) return;
  throw Error(ErrorCode::no_space, "the device hasn't the memory for these weights",
              {.file = device_->name(),
               .expected = format_bytes(wanted),
               .found = format_bytes(*memory.free) + " free",
               .hint = "load fewer tensors (--select), a smaller type (--type), or onto the host"});
}

void Loader::start() {
  bool ready = true;
  for (std::uint32_t i = 0; i < plan_->tensors.size() && ready; ++i) ready = destinations_.is_ready(i);
  if (ready) {
    arrivals_.expect(1);
    return work();  // threads would cost more than there is to do
  }
  workers_.emplace(threads_, [this]() noexcept { work(); });
  arrivals_.expect(workers_->size());
}

// What a worker does.
void Loader::work() noexcept {
  while (auto piece = queue_.next()) {
    try {
      worker_.run(*piece);
      if (piece->last && piece->tensors.size() == 1 && plan_->tensors[piece->tensors.front()].bytes == 0)
        sink_.put_empty(piece->tensors.front());
      meter_.add(*piece);
    } catch (...) {
      failures_.record(piece->number, std::current_exception());
      queue_.stop();
      stop_streams(*plan_);
    }
  }
  arrivals_.leave();
}

std::optional<LoadedTensor> Loader::next() {
  try {
    while (ready_.empty() && !over_) advance();
    if (ready_.empty()) return std::nullopt;
    LoadedTensor tensor = std::move(ready_.front());
    ready_.pop_front();
    send(tensor);
    count(tensor);
    return tensor;
  } catch (...) {
    stop();
    over_ = true;
    workers_.reset();
    let_go();
    ready_.clear();
    gathered_.clear();
    throw;
  }
}

// Until something may have become ready, for a moment at most.
void Loader::advance() {
  options_.source.cancel.throw_if_cancelled();
  if (auto arrival = arrivals_.pop(kTick)) settle(std::move(*arrival));
  tell_progress(false);
  if (arrivals_.over()) finish();
}

void Loader::settle(Arrival arrival) {
  for (const Upload& upload : arrival.uploads) upload.wait();
  for (const Arrival::Part& part : arrival.parts) {
    if (destinations_.arrived(part.tensor, part.bytes)) complete(part.tensor);
  }
}

void Loader::complete(std::uint32_t tensor) {
  (options_.stream_weights ? ready_ : gathered_).push_back(destinations_.take(tensor));
}

// All workers have left, and all that they sent has come.
void Loader::finish() {
  workers_.reset();
  options_.source.cancel.throw_if_cancelled();
  failures_.rethrow_if_any();
  for (const plan::Source& source : plan_->sources) source->finish();
  over_ = true;
  let_go();
  std::ranges::move(gathered_, std::back_inserter(ready_));
  gathered_.clear();
  tell_progress(true);
}

// The workers have gone, and with them goes what they worked with: whoever has taken tensors may keep the loader.
void Loader::let_go() noexcept {
  on_cancel_.reset();  // it looks at the ring
  while (arrivals_.pop({})) {
  }
  destinations_.clear();
  ring_.reset();
  files_.let_go();
  gate_.trim();
}

// Of weights that were gathered first, one goes to the device now.
void Loader::send(LoadedTensor& tensor) {
  const auto index = static_cast<std::uint32_t>(tensor.index);
  if (options_.stream_weights || is_on_host(*device_) || destinations_.stays_on_host(index)) return;
  Buffer on_device = destinations_.of_gathered(index);
  device_->upload(on_device, 0, tensor.buffer.host_bytes()).wait();
  if (options_.keep_host_copy) tensor.host_copy = std::move(tensor.buffer);
  tensor.buffer = std::move(on_device);
}

void Loader::tell_progress(bool always) {
  const auto now = Clock::now();
  if (!options_.on_progress || (!always && now - told_ < kTick)) return;
  told_ = now;
  options_.on_progress(meter_.read());
}

double Loader::seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

void Loader::count(const LoadedTensor& tensor) {
  const std::lock_guard lock(reporting_);
  if (report_.tensors++ == 0) report_.seconds_to_first = seconds();
  (tensor.on_host() ? report_.host_bytes : report_.device_bytes) += tensor.bytes();
  report_.seconds = seconds();
  report_.host_tensors += tensor.on_host() ? 1 : 0;
}

LoadReport Loader::report() const {
  LoadReport report;
  {
    const std::lock_guard lock(reporting_);
    report = report_;
  }
  report.source_bytes = meter_.read().bytes_done;
  report.peak_budget = gate_.peak();
  report.mapped_bytes = destinations_.mapped_bytes();
  return report;
}

void Loader::stop() noexcept {
  queue_.stop();
  gate_.poison();
  if (ring_) ring_->poison();
  arrivals_.poison();
  interrupt_sources(*plan_);
}

}  // namespace headrace::flow
