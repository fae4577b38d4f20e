#pragma once
// Looking inside files, for `ollamax inspect`: what they hold, how text becomes tokens, what a template renders, what a
// network predicts. The CLI's door to these; nothing of the server uses it.

#include <iosfwd>
#include <string>

namespace olx::engine {

// Metadata and tensor table, as text or as one JSON object. Throws gguf::FormatError, std::system_error.
void inspect_gguf(const std::string& path, bool as_json, std::ostream& out);

// One JSON array of token ids a line: for the whole of `in`, or (is_nul_separated) for each string between NULs.
// with_special: the model's own BOS/EOS rule, and special tokens in the text are parsed. A file without weights will do.
void inspect_tokens(const std::string& path, bool with_special, bool is_nul_separated, std::istream& in, std::ostream& out);

// Renders a .jinja or .gotmpl file over the JSON object of variables in `in`; nothing but the rendering goes to out.
// The clock of strftime_now is the present, or SOURCE_DATE_EPOCH (UTC).
void inspect_template(const std::string& path, std::istream& in, std::ostream& out);

// A JSON array of token ids in `in`; for each position a line {"logsumexp":x,"top":[[id,log_probability],...]}.
void inspect_logits(const std::string& path, const std::string& device, int n_top, std::istream& in, std::ostream& out);

}  // namespace olx::engine
