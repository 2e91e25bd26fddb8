// WeightStream: tensors as they come. _loading.py makes its arguments plain, and what comes tensors of a framework.
#include "bindings.hpp"
#include "interrupts.hpp"
#include "job.hpp"
#include "loaded.hpp"
#include "metadata.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "text.hpp"

#include <headrace/error.hpp>
#include <headrace/load.hpp>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace headrace::python {
namespace {

nb::tuple row_of(const TensorInfo& tensor) {
  return nb::make_tuple(to_str(tensor.name), to_str(name(tensor.dtype)), to_tuple(tensor.shape), tensor.bytes);
}

// A Python object that may be let go of on any thread.
std::shared_ptr<const void> kept_anywhere(nb::object object) {
  return {object.release().ptr(), [](PyObject* kept) { let_go([&] { Py_DECREF(kept); }); }};
}

// `allocate(name, dtype, shape, nbytes)` gives None, or (address, owner) of memory on the device.
Buffer allocated_by(nb::handle allocate, Device& device, const TensorInfo& tensor) {
  std::uintptr_t address = 0;
  std::shared_ptr<const void> owner;
  on_worker([&] {
    const nb::object given = allocate(*row_of(tensor));
    if (given.is_none()) return;
    address = nb::cast<std::uintptr_t>(given[0]);
    owner = kept_anywhere(given[1]);
  });
  if (!owner) return {};
  return device.wrap(address, tensor.bytes, 0, std::move(owner));
}

// While it lives, this thread is in a callback of a stream's workers, and must not wait for them.
thread_local const void* served = nullptr;
class Serving {
 public:
  explicit Serving(const void* stream) noexcept : before_(std::exchange(served, stream)) {}
  ~Serving() { served = before_; }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  const void* const before_;
};

// What a fetch gave, read for a stream.
class Served final : public ByteStream {
 public:
  Served(std::shared_ptr<ByteStream> bytes, const void* stream) : bytes_(std::move(bytes)), stream_(stream) {}

  std::optional<std::uint64_t> size() const override { return bytes_->size(); }
  bool ranges() const override { return bytes_->ranges(); }
  std::size_t read(std::span<std::byte> out) override {
    const Serving now(stream_);
    return bytes_->read(out);
  }
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) override {
    const Serving now(stream_);
    return bytes_->read_at(offset, out);
  }

 private:
  const std::shared_ptr<ByteStream> bytes_;
  const void* const stream_;
};

/// A WeightStream that Python's threads share: each tensor goes to one of them, and any may end it. What it is made of
/// waits for workers, and they for the GIL: everything here lets go of it first.
class Stream {
 public:
  Stream(const std::string& location, const std::string& device, const nb::dict& given, nb::handle allocate,
         nb::handle on_plan, nb::handle progress, const CancelToken* cancel)
      : allocate_(nb::borrow(allocate)), token_(cancel) {
    LoadOptions options = load_options(given);
    options.source.cancel = token_.get();
    if (options.source.fetch) {
      options.source.fetch = [this, fetch = std::move(options.source.fetch)](const std::string& file) {
        const Serving now(this);
        return std::make_shared<Served>(fetch(file), this);
      };
    }
    progress_ = progress;
    options.on_progress = [this](const Progress& now) { relay(progress_)(now); };
    if (!on_plan.is_none())
      options.on_plan = [on_plan](std::span<const TensorInfo> tensors) { tell(on_plan, tensors); };
    try {
      interruptibly(token_.get(), [&] {
        const std::shared_ptr<Device> to = open_device(device);
        if (!allocate_.is_none())
          options.allocate = [this, to](const TensorInfo& tensor) {
            const Serving now(this);
            return allocated_by(allocate_, *to, tensor);
          };
        stream_ = std::make_shared<WeightStream>(stream(location, to, options));
      });
    } catch (...) {
      close();
      throw;
    }
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { close(); }

  std::optional<Loaded> next(nb::handle progress) {
    const GilReleased released;
    if (has_turn())
      throw Error(ErrorCode::invalid_argument, "a stream's progress callback can't take a tensor from it");
    const Turn turn(*this);
    const auto stream = open_stream();
    progress_ = progress;
    try {
      auto tensor = stream->next();
      if (closing_) token_.get().throw_if_cancelled();
      if (!tensor) return std::nullopt;
      return Loaded{std::move(*tensor)};
    } catch (...) {
      token_.get().cancel();
      if (closing_) drop();
      throw;
    }
  }

  // Ends the work, and a wait for a tensor: another thread's, or that of this one, whose callback it is that calls. A
  // callback of its workers (fetch, allocate) can't wait for them: who takes the next tensor does.
  void close() {
    const GilReleased released;
    if (!now()) return;
    token_.get().cancel();
    if (has_turn() || served == this) {
      closing_ = true;
      return;
    }
    const Turn turn(*this);
    drop();
  }

  std::size_t size() const {
    return of_stream(&Last::size, [](const WeightStream& s) { return s.size(); });
  }
  Progress progress() const {
    return of_stream(&Last::progress, [](const WeightStream& s) { return s.progress(); });
  }
  LoadReport report() const {
    return of_stream(&Last::report, [](const WeightStream& s) { return s.report(); });
  }

  nb::dict metadata() const {
    std::optional<Metadata> copy;
    {
      const GilReleased released;
      copy = open_stream()->metadata();
    }
    return to_dict(*copy);
  }
  Metadata metadata_for(const std::string& format) const {
    const GilReleased released;
    const auto to = parse_format(format);
    if (!to) throw Error(ErrorCode::invalid_argument, "unknown format '" + format + "'");
    return open_stream()->metadata_for(*to);
  }

 private:
  // Of a stream that was closed.
  struct Last {
    Progress progress = {};
    LoadReport report = {};
    std::size_t size = 0;
  };

  // Held while a tensor is waited for, by a thread whose callback may come back here.
  class Turn {
   public:
    explicit Turn(Stream& stream) : stream_(stream), lock_(stream.turn_) { stream.taker_ = std::this_thread::get_id(); }
    ~Turn() { stream_.taker_ = std::thread::id(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Stream& stream_;
    const std::lock_guard<std::mutex> lock_;
  };
  bool has_turn() const { return taker_ == std::this_thread::get_id(); }

  // By who has the turn.
  void drop() {
    const auto stream = now();
    if (!stream) return;
    const std::lock_guard lock(mutex_);
    last_ = {stream->progress(), stream->report(), stream->size()};
    stream_.reset();
  }

  static void tell(nb::handle on_plan, std::span<const TensorInfo> tensors) {
    on_worker([&] {
      nb::list rows;
      for (const TensorInfo& tensor : tensors) rows.append(row_of(tensor));
      on_plan(rows);
    });
  }

  std::shared_ptr<WeightStream> now() const {
    const std::lock_guard lock(mutex_);
    return stream_;
  }
  std::shared_ptr<WeightStream> open_stream() const {
    if (auto stream = now()) return stream;
    throw Error(ErrorCode::invalid_argument, "the stream is closed");
  }
  template <typename Value, typename Ask>
  Value of_stream(Value Last::*last, const Ask& ask) const {
    const GilReleased released;
    const auto stream = now();
    if (stream) return ask(*stream);
    const std::lock_guard lock(mutex_);
    return last_.*last;
  }

  const nb::object allocate_;
  const OwnToken token_;
  nb::handle progress_;  // of the call that is under way
  std::mutex turn_;
  std::atomic<std::thread::id> taker_;  // who has the turn
  std::atomic<bool> closing_{false};    // a callback has closed the stream
  mutable std::mutex mutex_;
  Last last_;
  std::shared_ptr<WeightStream> stream_;
};

std::unique_ptr<Stream> open(const nb::str& location, const nb::str& device, const nb::dict& options,
                             nb::handle allocate, nb::handle on_plan, nb::handle progress, const CancelToken* cancel) {
  return std::make_unique<Stream>(from_str(location), from_str(device), options, allocate, on_plan, progress, cancel);
}

void bind_report(nb::module_& module) {
  nb::class_<LoadReport>(module, "LoadReport", "What loading came to. Bytes are those of tensors.")
      .def_ro("tensors", &LoadReport::tensors)
      .def_ro("host_tensors", &LoadReport::host_tensors, "Those of them in the host's memory.")
      .def_ro("device_bytes", &LoadReport::device_bytes, "On the device; 0 where that is the host.")
      .def_ro("host_bytes", &LoadReport::host_bytes, "On the host, copies of what is on the device apart.")
      .def_ro("mapped_bytes", &LoadReport::mapped_bytes, "Of host_bytes: pages of files.")
      .def_ro("source_bytes", &LoadReport::source_bytes, "As they came from the source.")
      .def_ro("seconds", &LoadReport::seconds, "From opening the source to the last tensor.")
      .def_ro("seconds_to_first", &LoadReport::seconds_to_first, "To the first tensor.")
      .def_ro("peak_budget", &LoadReport::peak_budget, "Most bytes of the memory budget that were held at once.");
}

}  // namespace

void bind_stream(nb::module_& module) {
  bind_report(module);
  nb::class_<Metadata>(module, "Metadata", "Pairs of a checkpoint, as they are written.");
  nb::class_<Stream>(module, "WeightStream", "See headrace.WeightStream.")
      .def("next", &Stream::next, nb::arg("progress").none(), "The next tensor; None after the last.")
      .def("close", &Stream::close)
      .def("metadata_for", &Stream::metadata_for, nb::arg("format"))
      .def("__len__", &Stream::size)
      .def_prop_ro("metadata", &Stream::metadata)
      .def_prop_ro("progress", &Stream::progress)
      .def_prop_ro("report", &Stream::report);
  module.def("open_stream", &open, nb::arg("location"), nb::arg("device"), nb::arg("options"),
             nb::arg("allocate").none(), nb::arg("on_plan").none(), nb::arg("progress").none(),
             nb::arg("cancel").none());
}

}  // namespace headrace::python
