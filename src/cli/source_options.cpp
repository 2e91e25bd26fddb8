#include "cli/source_options.hpp"

namespace headrace::cli {

void add_source_options(CLI::App& command, SourceOptions& options) {
  command
      .add_option("--torch-key", options.torch_key,
                  "In a PyTorch checkpoint, the entry that holds the weights:\nstate_dict, model, module, or a.b")
      ->type_name("KEY");
  command
      .add_option("--variant", options.variant,
                  "In a folder, the files of this variant: fp16 for model.fp16.safetensors")
      ->type_name("NAME");
  command.add_option("--header", options.headers, "Sent with each request to a URL's own host; may be given again")
      ->type_name("'NAME: VALUE'")
      ->allow_extra_args(false);
  command.add_option("--connections", options.connections, "Requests to a server at once; default 8")
      ->type_name("N")
      ->check(CLI::Range(1, 64));
  command
      .add_option("--weight-path-prefix", options.weight_path_prefix,
                  "Of a TensorFlow.js model, the folder or URL that holds the files of\n"
                  "weights; default: where its model.json is")
      ->type_name("PREFIX");
}

}  // namespace headrace::cli
