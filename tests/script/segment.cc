#include "segment.h"

namespace millrace::script {
namespace {

std::string number(int64_t v) { return std::to_string(v); }

// Small negative distances read better than numbers near 2^32.
std::string relative(uint32_t v) { return number(static_cast<int32_t>(v)); }

std::string flags_of(const Segment& s) {
  std::string out;
  if ((s.flags & SYN) != 0) out += "S";
  if ((s.flags & FIN) != 0) out += "F";
  if ((s.flags & RST) != 0) out += "R";
  if ((s.flags & PSH) != 0 || s.psh.value_or(false)) out += "P";
  if ((s.flags & URG) != 0) out += "U";
  if ((s.flags & ECE) != 0) out += "E";
  if ((s.flags & CWR) != 0) out += "W";
  if (s.ae) out += "A";
  if ((s.flags & ACK) != 0) out += ".";
  return out.empty() ? "-" : out;
}

template <class T>
void compare(std::string& out, const char* what, const std::optional<T>& wanted, const std::optional<T>& real) {
  if (!wanted || (real && *real == *wanted)) return;
  out += std::string(what) + " differs; ";
}

}  // namespace

std::string Segment::to_string() const {
  std::string out = flags_of(*this);
  if (seq) out += " seq " + relative(*seq);
  if (ack) out += " ack " + relative(*ack);
  if (win) out += " win " + number(*win);
  out += " len " + number(len);
  std::string options;
  const auto add = [&](const std::string& text) { options += (options.empty() ? "" : ",") + text; };
  if (mss) add("mss " + number(*mss));
  if (sack_ok) add(*sack_ok ? "sackOK" : "no sackOK");
  if (ts && !*ts) add("no TS");
  if (ts.value_or(false) || ts_val || ts_ecr) {
    add("TS val " + (ts_val ? number(*ts_val) : "*") + " ecr " + (ts_ecr ? number(*ts_ecr) : "*"));
  }
  if (wscale) add(*wscale < 0 ? "no wscale" : "wscale " + number(*wscale));
  if (sack) {
    std::string blocks = "sack";
    for (const auto& [left, right] : *sack) blocks += " {" + relative(left) + ":" + relative(right) + "}";
    add(sack->empty() ? "no sack" : blocks);
  }
  if (fast_open && fast_open->there) add("FO " + number(static_cast<int64_t>(fast_open->cookie.size())) + " B");
  if (has_raw_options) add("raw " + number(static_cast<int64_t>(raw_options.size())) + " B");
  if (!options.empty()) out += " <" + options + ">";
  if (ecn.value_or(0) != 0) out += " ecn " + number(*ecn);
  if (corrupt) out += " bad checksum";
  return out;
}

std::string Segment::difference(const Segment& real) const {
  constexpr uint8_t kCompared = static_cast<uint8_t>(~PSH);
  std::string out;
  if ((flags & kCompared) != (real.flags & kCompared) || ae != real.ae) out += "flags differ; ";
  if (port != real.port) out += "it is for port " + number(real.port) + "; ";
  const std::optional<bool> pushed = (real.flags & PSH) != 0;
  compare(out, "PSH", psh, pushed);
  if ((flags & PSH) != 0 && !*pushed) out += "PSH is missing; ";
  if (len != real.len) out += "length differs; ";
  const bool of_a_syn = real.mss || real.wscale || real.sack_ok.value_or(false);
  if ((real.flags & SYN) == 0 && of_a_syn) out += "an option of a SYN; ";  // RFC 9293 3.2 MUST-65, RFC 2018 2
  if (urgent != real.urgent) out += "the urgent pointer differs; ";
  compare(out, "ECN bits", ecn, real.ecn);
  compare(out, "DSCP", dscp, real.dscp);
  compare(out, "TTL", ttl, real.ttl);
  compare(out, "seq", seq, real.seq);
  compare(out, "ack", ack, real.ack);
  compare(out, "window", win, real.win);
  compare(out, "MSS", mss, real.mss);
  if (wscale && *wscale != real.wscale.value_or(-1)) out += "window scale differs; ";
  if (sack_ok && *sack_ok != real.sack_ok.value_or(false)) out += "SACK permitted differs; ";
  if (ts && *ts != real.ts.value_or(false)) out += *ts ? "the timestamp is missing; " : "there is a timestamp; ";
  compare(out, "TS val", ts_val, real.ts_val);
  compare(out, "TS ecr", ts_ecr, real.ts_ecr);
  if (fast_open && *fast_open != real.fast_open.value_or(FastOpen{false, {}})) out += "fast open differs; ";
  if (sack && *sack != real.sack.value_or(Blocks{})) out += "SACK blocks differ; ";
  return out;
}

}  // namespace millrace::script
