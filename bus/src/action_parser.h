// SPDX-License-Identifier: Apache-2.0
// Reads action lists, so that a flow's text can have one at its end.
#pragma once

#include "sluice/flow_text.h"
#include "text_scanner.h"

namespace sluice {

class ActionParser {
 public:
  ActionParser(TextScanner& in, const PortNames& ports) : in_(in), ports_(ports) {}

  // Up to the end of the text; what dump-flows -m may print behind the actions is read over.
  bool All(Actions& actions);

 private:
  using Argument = bool (ActionParser::*)(Actions&);
  struct Known {
    std::string_view name;
    Argument parse;
    bool bare;  // may stand without (...)
  };
  static const Known* Find(std::string_view name);
  static const Known* Begin();
  static const Known* End();
  friend bool IsActionWord(std::string_view word);

  bool List(Actions& actions, size_t depth);
  bool One(Actions& actions);
  bool Unknown(std::string_view token, size_t position, bool arguments);

  bool ParseFlood(Actions& actions);
  bool ParsePushVlan(Actions& actions);
  bool ParsePopVlan(Actions& actions);
  bool ParseSet(Actions& actions);
  bool ParseDecTtl(Actions& actions);
  bool ParseUpcall(Actions& actions);
  bool ParseUserspace(Actions& actions);
  bool ParseRecirc(Actions& actions);
  bool ParseCt(Actions& actions);
  bool CtArgument(Ct& ct);
  bool ParseCtClear(Actions& actions);
  bool ParseTnlPop(Actions& actions);
  bool ParseTnlPush(Actions& actions);
  bool ParseTrunc(Actions& actions);

  TextScanner& in_;
  const PortNames& ports_;
  size_t count_ = 0;
  size_t depth_ = 0;
  size_t position_ = 0;     // of the action being read
  bool arguments_ = false;  // it has (...), of which '(' was read; ')' is the caller's
};

}  // namespace sluice
