// `fsck`: checks the models folder of this machine, with or without a server, and puts right what
// can be. Its exit code is 0 when nothing is wrong, 2 when something is, and 1 when the check
// itself could not be made.
#include <cstdio>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/terminal.h"
#include "server/server.h"
#include "server/wire.h"

namespace olx::cli {

int command_fsck(const std::vector<std::string>& words) {
  server::FsckOptions options;
  CommandLine line("fsck", "",
                   "Check the models folder: exit code 0 when nothing is wrong, 2 otherwise");
  line.flag("--hash", options.hashes, "read every blob and compare it with its digest");
  line.flag("--repair", options.repairs,
            "move damaged files to .ollamax/quarantine, restore manifests, remove leftovers");
  line.arguments(0, 0);
  if (!line.parse(words)) return 0;
  const std::string folder = server::ServerOptions::from_environment().models_dir;
  ProgressLine progress;
  options.on_progress = [&](uint64_t done, uint64_t total) {
    progress.update("reading blobs", static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  const server::FsckReport report = server::fsck(folder, options);
  progress.finish(true);
  for (const server::FsckFinding& finding : report.findings) {
    const char* label = finding.is_repaired ? "repaired" : finding.is_wrong ? "wrong" : "note";
    std::printf("%-9s %s\n", label, finding.what.c_str());
    if (!finding.advice.empty()) std::printf("          -> %s\n", finding.advice.c_str());
  }
  const std::string read =
      options.hashes ? ", " + human_bytes(static_cast<int64_t>(report.n_bytes_hashed)) + " read"
                     : "";
  const uint64_t n_wrong = report.n_wrong();
  std::printf("%s: %llu models, %llu blobs%s: %s\n", folder.c_str(),
              static_cast<unsigned long long>(report.n_models),
              static_cast<unsigned long long>(report.n_blobs), read.c_str(),
              n_wrong == 0 ? "nothing is wrong"
                           : (std::to_string(n_wrong) +
                              (n_wrong == 1 ? " thing is wrong" : " things are wrong"))
                                 .c_str());
  return n_wrong == 0 ? 0 : 2;
}

}  // namespace olx::cli
