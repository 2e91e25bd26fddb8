// headrace devices: whose memory Headrace can use.
#include <headrace/bytes.hpp>
#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/table.hpp"
#include "cli/text.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace headrace::cli {
namespace {

/// A kind of which there is no device, and why.
struct Absent {
  const char* kind;
  std::string reason;
};

std::vector<Absent> absent_kinds(const std::vector<DeviceInfo>& devices) {
  std::vector<Absent> absent;
  for (const DeviceKind kind : {DeviceKind::opencl, DeviceKind::cuda}) {
    if (std::any_of(devices.begin(), devices.end(), [&](const DeviceInfo& info) { return info.kind == kind; }))
      continue;
    try {
      (void)open_device(to_string(kind));
    } catch (const Error& error) {
      absent.push_back({to_string(kind), error.problem()});
    }
  }
  return absent;
}

void print_text(Output& out, const std::vector<DeviceInfo>& devices) {
  constexpr std::array kColumns{Column{"device"}, Column{"description"}, Column{"memory", Align::right},
                                Column{"free", Align::right}, Column{"largest buffer", Align::right}};
  print_table(out, kColumns, devices.size(), [&](std::size_t i, Row& row) {
    const DeviceInfo& device = devices[i];
    row[0] = device.name;
    append_safe(row[1], device.description);
    row[2] = format_bytes(device.memory.total);
    row[3] = device.memory.free ? format_bytes(*device.memory.free) : "?";
    row[4] = format_bytes(device.memory.largest);
  });
  for (const Absent& absent : absent_kinds(devices)) out.print("no {}: {}\n", absent.kind, safe(absent.reason));
}

void print_json(Output& out, const std::vector<DeviceInfo>& devices) {
  JsonDocument document(out);
  document.begin_list("devices");
  for (const DeviceInfo& device : devices) {
    document.element({{"name", device.name},
                      {"kind", to_string(device.kind)},
                      {"description", device.description},
                      {"memory_total", device.memory.total},
                      {"memory_free", device.memory.free ? Json(*device.memory.free) : Json(nullptr)},
                      {"largest_buffer", device.memory.largest}});
  }
  document.end_list();
  document.begin_list("absent");
  for (const Absent& absent : absent_kinds(devices)) {
    document.element({{"kind", absent.kind}, {"reason", absent.reason}});
  }
  document.end_list();
  document.end();
}

int run(bool json, Context& context) {
  const std::vector<DeviceInfo> devices = list_devices();
  json ? print_json(context.out, devices) : print_text(context.out, devices);
  return kOk;
}

constexpr const char* kExamples = R"(Examples:
  headrace devices
  headrace load model.safetensors --device opencl:0
  headrace devices --json | jq -r '.devices[] | select(.kind == "cuda") | .name'

OpenCL devices are those that the system's ICD loader finds, CUDA devices those of NVIDIA's driver. Why there are none
of a kind is said below the list. OpenCL can't say how much of its memory is free.
Exit status: 0 done, 1 a driver failed, 2 wrong usage.)";

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  const auto json = std::make_shared<bool>(false);
  CLI::App& command = *app.add_subcommand("devices", "List the devices whose memory Headrace can use");
  command.add_flag("--json", *json, "Print the list, or the error, as JSON on stdout");
  command.footer(kExamples);
  command.callback([json, &action] { action = [json](Context& context) { return run(*json, context); }; });
}

}  // namespace headrace::cli
