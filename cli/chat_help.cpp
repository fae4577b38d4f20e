#include "cli/chat_help.h"

namespace olx::cli {

std::string chat_help(const std::string& topic) {
  if (topic == "set" || topic == "/set")
    return "Available Commands:\n"
           "  /set parameter ...     Set a parameter\n"
           "  /set system <string>   Set system message\n"
           "  /set history           Enable history\n"
           "  /set nohistory         Disable history\n"
           "  /set wordwrap          Enable wordwrap\n"
           "  /set nowordwrap        Disable wordwrap\n"
           "  /set format json       Enable JSON mode\n"
           "  /set noformat          Disable formatting\n"
           "  /set verbose           Show LLM stats\n"
           "  /set quiet             Disable LLM stats\n"
           "  /set think             Enable thinking\n"
           "  /set nothink           Disable thinking\n\n";
  if (topic == "show" || topic == "/show")
    return "Available Commands:\n"
           "  /show info         Show details for this model\n"
           "  /show license      Show model license\n"
           "  /show modelfile    Show Modelfile for this model\n"
           "  /show parameters   Show parameters for this model\n"
           "  /show system       Show system message\n"
           "  /show template     Show prompt template\n\n";
  if (topic == "shortcuts" || topic == "/shortcuts")
    return "Available keyboard shortcuts:\n"
           "  Ctrl + a            Move to the beginning of the line (Home)\n"
           "  Ctrl + e            Move to the end of the line (End)\n"
           "   Alt + b            Move back (left) one word\n"
           "   Alt + f            Move forward (right) one word\n"
           "  Ctrl + k            Delete the sentence after the cursor\n"
           "  Ctrl + u            Delete the sentence before the cursor\n"
           "  Ctrl + w            Delete the word before the cursor\n\n"
           "  Ctrl + l            Clear the screen\n"
           "  Ctrl + c            Stop the model from responding\n"
           "  Ctrl + d            Exit ollamax (/bye)\n\n";
  return "Available Commands:\n"
         "  /set            Set session variables\n"
         "  /show           Show model information\n"
         "  /load <model>   Load a session or model\n"
         "  /save <model>   Save your current session\n"
         "  /list           List models\n"
         "  /clear          Clear session context\n"
         "  /bye            Exit\n"
         "  /?, /help       Help for a command\n"
         "  /? shortcuts    Help for keyboard shortcuts\n\n"
         "Use \"\"\" to begin a multi-line message.\n\n";
}

}  // namespace olx::cli
