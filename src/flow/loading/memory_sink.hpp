// MemorySink: the tensors go to a device's memory, or the host's.
#pragma once

#include "flow/loading/arrivals.hpp"
#include "flow/loading/destinations.hpp"
#include "flow/loading/host_files.hpp"
#include "flow/loading/staging_ring.hpp"
#include "flow/sink.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace headrace::flow {

/// What goes to the host is made where it stays; what goes to a device is made in staging memory and sent from there.
/// Everything that was sent, or is in place, is told to the arrivals. What it is made of must outlive it.
class MemorySink final : public Sink {
 public:
  /// `ring`: null when no tensor goes to a device.
  MemorySink(const Plan::Impl& plan, Destinations& destinations, Arrivals& arrivals, const HostFiles& files,
             StagingRing* ring)
      : plan_(plan), destinations_(destinations), arrivals_(arrivals), files_(files), ring_(ring) {}

  bool copy_from(const io::File& file, std::uint64_t at, std::uint32_t tensor, std::uint64_t first,
                 std::uint64_t bytes) override;
  bool copy_run_from(const io::File& file, std::uint64_t at, std::uint64_t bytes,
                     std::span<const std::uint32_t> tensors) override;
  Place place(std::uint32_t tensor, std::uint64_t first, std::size_t bytes) override;
  Place place_run(std::span<const std::uint32_t> tensors, std::size_t bytes) override;
  void put(std::uint32_t tensor, std::uint64_t first, std::span<const std::byte> bytes, Place place) override;
  void put_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes, Place place) override;

  /// A tensor of no bytes has come.
  void put_empty(std::uint32_t tensor);

 private:
  using Destination = Destinations::Destination;
  Place staged(std::size_t bytes, std::size_t shift = 0);
  std::shared_ptr<void> brought(const io::File& file, std::uint64_t at, std::uint64_t bytes) const;
  static void send(Destination& to, std::uint64_t first, std::span<const std::byte> bytes, Arrival& arrival);

  const Plan::Impl& plan_;
  Destinations& destinations_;
  Arrivals& arrivals_;
  const HostFiles& files_;
  StagingRing* const ring_;
};

}  // namespace headrace::flow
