// A zone of the DNS, read from a master file (RFC 1035 5) by ldns and indexed by name. Read first: RFC 1034 4.3.2.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dns/ldns.h"

namespace millrace::dns {

/// Deleters for what ldns allocates.
struct Deep {
  void operator()(ldns_zone* z) const { ldns_zone_deep_free(z); }
  void operator()(ldns_rdf* d) const { ldns_rdf_deep_free(d); }
  void operator()(ldns_pkt* p) const { ldns_pkt_free(p); }
  void operator()(ldns_rr* r) const { ldns_rr_free(r); }
};
template <class T>
using Owned = std::unique_ptr<T, Deep>;

class Zone {
 public:
  /// Reads `file`; the reason if that fails, otherwise empty. `origin` is used until the file says $ORIGIN.
  std::string load(const std::string& file, const std::string& origin);

  /// The name at which the zone begins, lower case, and its SOA record.
  [[nodiscard]] const ldns_rdf* apex() const { return apex_.get(); }
  [[nodiscard]] const ldns_rr* soa() const { return soa_; }
  [[nodiscard]] bool contains(const ldns_rdf* name) const;
  /// Records of a name; nullptr if it has none. Names are compared without regard to case (RFC 4343).
  [[nodiscard]] const std::vector<const ldns_rr*>* records(const ldns_rdf* name) const;
  /// Whether the name or one below it has records (RFC 4592 2.2.2: an empty non-terminal exists, too).
  [[nodiscard]] bool exists(const ldns_rdf* name) const;

 private:
  Owned<ldns_zone> zone_;
  Owned<ldns_rdf> apex_;
  const ldns_rr* soa_ = nullptr;
  // Keys are labels from the root down, each followed by a zero byte, so that what is below a name follows it.
  std::map<std::string, std::vector<const ldns_rr*>> names_;
};

}  // namespace millrace::dns
