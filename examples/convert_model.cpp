// Quantises a checkpoint to Q8_0 within 64 MiB of memory: first the plan, then the work, with progress on the way.
#include <headrace/headrace.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: convert_model IN OUT.gguf\n");
    return 2;
  }
  try {
    headrace::ConvertOptions options;
    options.type = headrace::DType::Q8_0;
    options.memory = 64 << 20;
    options.force = true;
    const headrace::Plan plan = headrace::plan_conversion(argv[1], argv[2], options);
    for (const std::string& note : plan.notes()) std::printf("note: %s\n", note.c_str());

    const headrace::ConvertReport report = headrace::convert(plan, [](const headrace::Progress& progress) {
      std::printf("%llu of %llu bytes\n", static_cast<unsigned long long>(progress.bytes_done),
                  static_cast<unsigned long long>(progress.bytes_total));
    });
    std::printf("%zu tensors, %s in %.3f s\n", plan.size(), headrace::format_bytes(report.bytes_written).c_str(),
                report.seconds);
  } catch (const headrace::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
