#include "residency/unit.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>
#include <headrace/retype.hpp>

#include <fmt/format.h>

#include <string_view>

namespace headrace {

const char* to_string(Place place) noexcept {
  switch (place) {
    case Place::disk: return "disk";
    case Place::host: return "host";
    case Place::device: return "device";
  }
  return "unknown";
}

namespace residency {
namespace {

using States = std::array<std::pair<const char*, UnitState>, 4>;

States in_order(const UnitStates& states) {
  return {{{"offload", states.offload},
           {"onload", states.onload},
           {"preparing", states.preparing},
           {"computation", states.computation}}};
}

void require_states(const Unit& unit) {
  Place before = Place::disk;
  const auto refuse = [&](const char* state, Place expected, Place found, const char* problem) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("unit '{}': the {} state {}", format::printable(unit.title()), state, problem),
                {.expected = to_string(expected), .found = to_string(found)});
  };
  for (const auto& [name, state] : in_order(unit.states)) {
    if (state.place < before) refuse(name, before, state.place, "is farther than the one before it");
    if (state.dtype && !can_make(*state.dtype)) {
      throw Error(ErrorCode::unsupported,
                  fmt::format("unit '{}': the {} state's type can't be made", format::printable(unit.title()), name),
                  {.found = std::string(headrace::name(*state.dtype))});
    }
    before = state.place;
  }
  if (before != Place::device) refuse("computation", Place::device, before, "isn't on the device");
}

// Whole numbers, indexes and masks stay what they are.
bool is_real(DType dtype) { return is_float(dtype) || is_block(dtype); }

bool takes(const TensorInfo& tensor, DType from, DType to) {
  return is_real(from) && tensor.row_elements() % info(to).block_elements == 0;
}

UnitTensor make_tensor(const Unit& unit, const std::string& name) {
  const TensorInfo* found = unit.map->find(name);
  if (found == nullptr) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("unit '{}': the map has no tensor of this name", format::printable(unit.title())),
                {.tensor = format::printable(name)});
  }
  UnitTensor tensor{.name = name,
                    .shape = {found->shape.begin(), found->shape.end()},
                    .elements = found->elements,
                    .stored_bytes = found->bytes,
                    .index = static_cast<std::size_t>(found - unit.map->tensors().data())};
  DType dtype = found->dtype;
  std::size_t level = 0;
  tensor.dtypes[level] = dtype;
  for (const auto& [state_name, state] : in_order(unit.states)) {
    if (state.dtype && *state.dtype != dtype && takes(*found, dtype, *state.dtype)) {
      if (!can_read(dtype)) {
        throw Error(ErrorCode::unsupported, fmt::format("numbers of {} can't be read", headrace::name(dtype)),
                    {.tensor = format::printable(name), .expected = std::string(headrace::name(*state.dtype))});
      }
      dtype = *state.dtype;
    }
    tensor.dtypes[++level] = dtype;
  }
  return tensor;
}

// The last state before computation that is at this place.
std::optional<Level> level_at(const UnitStates& states, Place place) {
  if (states.preparing.place == place) return kPreparing;
  if (states.onload.place == place) return kOnload;
  if (states.offload.place == place) return kOffload;
  return std::nullopt;
}

}  // namespace

std::uint64_t UnitTensor::bytes(Level level) const noexcept {
  if (dtypes[level] == dtypes[kOnDisk]) return stored_bytes;
  // The map has checked the shape, and rows are whole blocks of every type in the list.
  return bytes_of(dtypes[level], elements).value_or(0);
}

Unit make_unit(const std::string& model, const std::shared_ptr<const DiskMap>& map, const UnitSpec& spec) {
  Unit unit{
      .name = spec.name, .model = model, .map = map, .states = spec.states, .tensors = {}, .host = {}, .device = {}};
  require_states(unit);
  unit.host = level_at(spec.states, Place::host);
  unit.device = level_at(spec.states, Place::device);
  unit.tensors.reserve(spec.tensors.size());
  for (const std::string& name : spec.tensors) {
    const UnitTensor& tensor = unit.tensors.emplace_back(make_tensor(unit, name));
    if (unit.host) unit.host_bytes += tensor.bytes(*unit.host);
    if (unit.device) unit.kept_bytes += tensor.bytes(*unit.device);
    unit.all_bytes += tensor.bytes(kComputation);
    if (unit.differs(tensor)) unit.extra_bytes += tensor.bytes(kComputation);
  }
  return unit;
}

}  // namespace residency
}  // namespace headrace
