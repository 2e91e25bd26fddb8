// The headrace command: reads the command line, runs one subcommand, and turns every failure into a message and an
// exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
#include <headrace/error.hpp>
#include <headrace/version.hpp>

#include "cli/arguments.hpp"
#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"
#include "cli/types.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {
namespace {

using Words = std::vector<std::string_view>;

// Known before the command line is understood, so that its errors can be JSON too.
bool wants_json(const Words& words) {
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::find(words.begin(), end, "--json") != end;
}

void print_error_json(Output& out, const Json& document) {
  try {
    out.print("{}\n", to_text(document));
    out.flush();
  } catch (const Error&) {
    // Standard output is what failed; the message on standard error has been said.
  }
}

// One line on standard error; with --json also an object on standard output.
int fail(Output& out, bool json, int status, std::string_view message, const Json& document) {
  out.discard();  // half a result before the error would make it unreadable to a program
  std::string text = wants_colour(STDERR_FILENO) ? "headrace: \x1b[1;31merror:\x1b[0m " : "headrace: error: ";
  append_safe(text, message);
  write_stderr(text + "\n");
  if (json) print_error_json(out, document);
  return status;
}

// What CLI11 calls "A subcommand is required" or an unexpected argument, said plainly.
std::string usage_problem(const CLI::App& app, const Words& words, const CLI::ParseError& error) {
  if (!app.get_subcommands().empty()) return error.what();
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  const std::string commands = fmt::format("commands: {}", fmt::join(names, ", "));
  if (words.empty()) return "no command was given; " + commands;
  if (words[0].starts_with('-')) return fmt::format("'{}' needs a command before it; {}", words[0], commands);
  const std::vector<std::string_view> views(names.begin(), names.end());
  return fmt::format("unknown command '{}'{}; {}", words[0], did_you_mean(words[0], views), commands);
}

int refuse(Output& out, bool json, const CLI::App& app, std::string_view problem) {
  const int status =
      fail(out, json, kWrongUsage, problem, error_document(to_string(ErrorCode::invalid_argument), problem));
  const auto commands = app.get_subcommands();
  const std::string command = commands.empty() ? "" : " " + commands.front()->get_name();
  write_stderr(fmt::format("Try 'headrace{} --help'.\n", command));
  return status;
}

int report_interrupted(Output& out, bool json, const CLI::App& app, const Error& error) {
  out.discard();
  constexpr std::array kReadOnly{"inspect", "verify", "load", "devices"};
  const bool writes = std::ranges::none_of(kReadOnly, [&](const char* name) { return app.got_subcommand(name); });
  write_stderr(writes ? "headrace: interrupted; nothing was written\n" : "headrace: interrupted\n");
  if (json) print_error_json(out, error_document(error));
  return kInterrupted;
}

int report_error(Output& out, bool json, const CLI::App& app, const Error& error) {
  if (error.code() == ErrorCode::cancelled) return report_interrupted(out, json, app, error);
  const int status = error.code() == ErrorCode::invalid_argument ? kWrongUsage : kFailed;
  return fail(out, json, status, error.what(), error_document(error));
}

// Runs what was asked for. Everything that can be thrown ends here.
int guarded(Output& out, bool json, const CLI::App& app, const std::function<int()>& body) {
  try {
    const int status = body();
    out.flush();
    return status;
  } catch (const UsageError& error) {
    return refuse(out, json, app, error.what());
  } catch (const Error& error) {
    return report_error(out, json, app, error);
  } catch (const std::bad_alloc&) {
    constexpr std::string_view kMessage = "out of memory";
    return fail(out, json, kFailed, kMessage, error_document("out_of_memory", kMessage));
  } catch (const std::exception& error) {
    return fail(out, json, kFailed, error.what(), error_document(error));
  }
}

// A sharded checkpoint keeps all its files open; the usual soft limit, 1024, is for programs that use select().
void raise_file_limit() {
  struct rlimit files {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

int run(int argc, char** argv) {
  fill_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error code, not the end of a conversion
  ::signal(SIGXFSZ, SIG_IGN);  // and so is a limit on file sizes
  Signals signals;             // before any thread
  raise_file_limit();

  Output out(STDOUT_FILENO);
  Context context{out, signals};
  const Words words(argv + std::min(argc, 1), argv + argc);
  const bool json = wants_json(words);
  Action action;

  CLI::App app("Converts, quantises and checks model weights in bounded memory.", "headrace");
  app.set_version_flag("--version", fmt::format("headrace {}", version()), "Print the version");
  app.footer(
      "'headrace COMMAND --help' explains a command, with examples:\n"
      "  headrace convert model.safetensors -o model.gguf --type q8_0");
  app.require_subcommand(1);
  return guarded(out, json, app, [&]() -> int {
    add_convert(app, action);
    add_inspect(app, action);
    add_verify(app, action);
    add_split(app, action);
    add_merge(app, action);
    add_extract(app, action);
    add_load(app, action);
    add_devices(app, action);
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForVersion& answer) {
      out.print("{}\n", answer.what());
      return kOk;
    } catch (const CLI::CallForHelp&) {
      const auto commands = app.get_subcommands();
      out.write(commands.empty() ? app.help() : commands.front()->help("headrace"));
      return kOk;
    } catch (const CLI::ParseError& error) {
      throw UsageError(usage_problem(app, words, error));
    }
    return action(context);
  });
}

}  // namespace
}  // namespace headrace::cli

int main(int argc, char** argv) {
  try {
    return headrace::cli::run(argc, argv);
  } catch (const std::exception& error) {
    // Only what fails before or after a command gets here, such as a thread that can't be started.
    headrace::cli::write_stderr(fmt::format("headrace: error: {}\n", error.what()));
    return headrace::cli::kFailed;
  }
}
