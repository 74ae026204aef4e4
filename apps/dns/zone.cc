#include "dns/zone.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace millrace::dns {
namespace {

std::string key_of(const ldns_rdf* name) {
  const uint8_t* p = ldns_rdf_data(name);
  std::vector<std::string> labels;
  for (size_t at = 0; at < ldns_rdf_size(name) && p[at] != 0; at += p[at] + size_t{1}) {
    std::string label;
    for (size_t i = 0; i < p[at]; ++i) label += static_cast<char>(std::tolower(p[at + 1 + i]));
    labels.push_back(label);
  }
  std::string key;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) key += *label + '\0';
  return key;
}

}  // namespace

std::string Zone::load(const std::string& file, const std::string& origin) {
  FILE* in = std::fopen(file.c_str(), "r");
  if (in == nullptr) return file + ": " + std::strerror(errno);
  Owned<ldns_rdf> start(origin.empty() ? nullptr : ldns_dname_new_frm_str(origin.c_str()));
  ldns_zone* zone = nullptr;
  int line = 0;
  const ldns_status status = ldns_zone_new_frm_fp_l(&zone, in, start.get(), 3'600, LDNS_RR_CLASS_IN, &line);
  std::fclose(in);
  if (status != LDNS_STATUS_OK) {
    return file + ":" + std::to_string(line) + ": " + ldns_get_errorstr_by_id(status);
  }
  zone_.reset(zone);
  soa_ = ldns_zone_soa(zone);
  if (soa_ == nullptr) return file + ": the zone has no SOA record";
  apex_.reset(ldns_rdf_clone(ldns_rr_owner(soa_)));
  ldns_dname2canonical(apex_.get());
  names_[key_of(apex_.get())].push_back(soa_);
  const ldns_rr_list* records = ldns_zone_rrs(zone);
  for (size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
    const ldns_rr* rr = ldns_rr_list_rr(records, i);
    if (!contains(ldns_rr_owner(rr))) {
      return file + ": a record outside of the zone";
    }
    names_[key_of(ldns_rr_owner(rr))].push_back(rr);
  }
  return "";
}

bool Zone::contains(const ldns_rdf* name) const { return key_of(name).starts_with(key_of(apex_.get())); }

const std::vector<const ldns_rr*>* Zone::records(const ldns_rdf* name) const {
  const auto found = names_.find(key_of(name));
  return found == names_.end() ? nullptr : &found->second;
}

bool Zone::exists(const ldns_rdf* name) const {
  const std::string key = key_of(name);
  const auto at = names_.lower_bound(key);
  return at != names_.end() && at->first.starts_with(key);
}

}  // namespace millrace::dns
