// Runs a transformer on an OpenCL device under a limit of a quarter of its weights, and shows that nothing of what it
// computes changes: a BERT of antibodies says which residues may stand where a sequence has '_'.
#include "antibody.hpp"
#include "bert.hpp"
#include "engine.hpp"

#include <headrace/headrace.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int kPasses = 3;
constexpr char kUsage[] = "usage: run_transformer MODEL SEQUENCE [--device opencl:0] [--limit BYTES]\n";

struct Arguments {
  std::string model, sequence, device = "opencl:0";
  std::optional<std::uint64_t> limit = {};
};

std::optional<Arguments> parse(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) return {};
  Arguments given{.model = argv[1], .sequence = argv[2]};
  for (int i = 3; i < argc; i += 2) {
    const std::string_view name = argv[i];
    char* end = nullptr;
    if (name == "--device") {
      given.device = argv[i + 1];
    } else if (name == "--limit") {
      given.limit = std::strtoull(argv[i + 1], &end, 10);
      if (end == argv[i + 1] || *end != '\0') return {};
    } else {
      return {};
    }
  }
  return given;
}

struct Model {
  std::string path;
  std::shared_ptr<headrace::Device> device;
  std::shared_ptr<const headrace::DiskMap> map;
  Bert bert;
  Engine engine;
  std::vector<cl_uint> tokens;
};

Model open(const Arguments& given) {
  const auto device = headrace::open_device(given.device);
  if (device->kind() != headrace::DeviceKind::opencl)
    throw std::invalid_argument("the kernels are OpenCL's: --device opencl:0");
  auto map = std::make_shared<const headrace::DiskMap>(given.model, Bert::selection());
  Model model{given.model, device, map, Bert(*map), Engine(*device), tokens_of(given.sequence)};
  if (model.bert.letters() != kLetters || model.tokens.size() > model.bert.longest())
    throw std::invalid_argument("the model has another alphabet, or too few positions for this sequence");
  return model;
}

// All weights on the device at once.
std::vector<float> run_whole(Model& model) {
  headrace::LoadOptions options;
  options.host_threshold = 0;  // small ones too
  options.type = Bert::selection().type;
  options.shaping = Bert::selection().shaping;
  const headrace::Weights weights = headrace::load(model.path, model.device, options);
  const auto find = [&](const std::string& name) -> const headrace::LoadedTensor& { return weights.at(name); };
  Matrix x;
  for (std::size_t unit = 0; unit < model.bert.units().size(); ++unit)
    x = model.bert.run(unit, model.engine, find, model.tokens, x);
  return model.engine.read(x);
}

// A unit's weights are on the device while it is leased; the next ones come meanwhile.
std::vector<float> run_leased(Model& model, headrace::Residency& residency, headrace::ModelId id) {
  Matrix x;
  for (std::uint32_t unit = 0; unit < model.bert.units().size(); ++unit) {
    const headrace::Lease lease = residency.lease({{id, unit}});
    const auto find = [&](const std::string& name) -> const headrace::LoadedTensor& { return lease.tensor(name); };
    x = model.bert.run(unit, model.engine, find, model.tokens, x);
    model.engine.finish();  // what is queued uses the leased tensors
  }
  return model.engine.read(x);
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

void print(const char* what, std::uint64_t number, const std::string& more = {}) {
  std::printf("%-11s%12llu%s\n", what, static_cast<unsigned long long>(number), more.c_str());
}

void print(const headrace::ResidencyStats& did, std::uint64_t limit) {
  print("limit", limit);
  print("peak", did.peak_device_bytes);
  print("passes", kPasses,
        ", " + std::to_string(did.leases) + " leases; " + std::to_string(did.prefetched) + " units fetched ahead, " +
            std::to_string(did.hits) + " there when wanted");
  print("stalls", did.stalls);
  std::printf("%-11s%12.3f s\n", "stalled", did.stalled_seconds);
}

// Whether the results are the same.
bool run(const Arguments& given) {
  Model model = open(given);
  std::uint64_t weights = 0;
  for (const headrace::TensorInfo& tensor : model.map->tensors()) weights += tensor.bytes;
  const std::uint64_t limit = given.limit.value_or(weights / 4);
  const std::vector<float> expected = run_whole(model);

  headrace::Residency residency(model.device, {.limit = limit});
  const headrace::ModelId id = residency.add("bert", model.map, model.bert.units());
  residency.onload(id);
  float difference = 0;
  bool same = true;
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::vector<float> found = run_leased(model, residency, id);
    difference = std::max(difference, largest_difference(found, expected));
    same = same && found == expected;
  }

  std::printf("%-11s%s, %s\n", "device", model.device->name().c_str(), model.device->description().c_str());
  print("weights", weights, " bytes");
  print(residency.stats(), limit);
  std::printf("%-11s%12g in the scores\n", "difference", static_cast<double>(difference));
  print_residues(given.sequence, expected);
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<Arguments> given = parse(argc, argv);
  if (!given) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return run(*given) ? 0 : 1;
  } catch (const cl::BuildError& error) {
    for (const auto& [device, log] : error.getBuildLog()) std::fprintf(stderr, "%s\n", log.c_str());
  } catch (const cl::Error& error) {
    std::fprintf(stderr, "%s: OpenCL says %d\n", error.what(), error.err());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
