#include "dns/answer.h"

#include <algorithm>
#include <cstring>

namespace millrace::dns {
namespace {

constexpr int kMostAliases = 8;

class Reply {
 public:
  Reply(const Zone& zone, const ldns_pkt& query) : zone_(zone), query_(query), packet_(ldns_pkt_new()) {
    ldns_pkt_set_id(packet_.get(), ldns_pkt_id(&query));
    ldns_pkt_set_qr(packet_.get(), true);
    ldns_pkt_set_opcode(packet_.get(), ldns_pkt_get_opcode(&query));
    ldns_pkt_set_rd(packet_.get(), ldns_pkt_rd(&query));
    const ldns_rr_list* questions = ldns_pkt_question(&query);
    for (size_t i = 0; i < ldns_rr_list_rr_count(questions); ++i) {
      ldns_pkt_push_rr(packet_.get(), LDNS_SECTION_QUESTION, ldns_rr_clone(ldns_rr_list_rr(questions, i)));
    }
    if (ldns_pkt_edns(&query)) {
      ldns_pkt_set_edns_udp_size(packet_.get(), kLargestUdp);  // RFC 6891 6.1.1: an OPT is answered with an OPT
    }
  }

  void fill() {
    const ldns_rr_list* questions = ldns_pkt_question(&query_);
    if (ldns_pkt_get_opcode(&query_) != LDNS_PACKET_QUERY) return rcode(LDNS_RCODE_NOTIMPL);
    if (ldns_rr_list_rr_count(questions) != 1) return rcode(LDNS_RCODE_FORMERR);
    if (ldns_pkt_edns(&query_) && ldns_pkt_edns_version(&query_) != 0) {
      ldns_pkt_set_edns_extended_rcode(packet_.get(), 1);  // RFC 6891 6.1.3: BADVERS
      return;
    }
    const ldns_rr* question = ldns_rr_list_rr(questions, 0);
    if (ldns_rr_get_class(question) != LDNS_RR_CLASS_IN || !zone_.contains(ldns_rr_owner(question))) {
      return rcode(LDNS_RCODE_REFUSED);
    }
    type_ = ldns_rr_get_type(question);
    follow(ldns_rr_owner(question), 0);
  }

  [[nodiscard]] std::vector<std::byte> wire(size_t limit) {
    std::vector<std::byte> bytes = encode();
    if (bytes.size() <= limit) return bytes;
    // RFC 2181 9: a part of an answer is worth nothing; the client comes again over TCP.
    ldns_pkt_set_tc(packet_.get(), true);
    for (const auto section : {LDNS_SECTION_ANSWER, LDNS_SECTION_AUTHORITY, LDNS_SECTION_ADDITIONAL}) {
      ldns_rr_list* list = section == LDNS_SECTION_ANSWER      ? ldns_pkt_answer(packet_.get())
                           : section == LDNS_SECTION_AUTHORITY ? ldns_pkt_authority(packet_.get())
                                                               : ldns_pkt_additional(packet_.get());
      while (ldns_rr* rr = ldns_rr_list_pop_rr(list)) ldns_rr_free(rr);
      ldns_pkt_set_section_count(packet_.get(), section, 0);
    }
    return encode();
  }
  void rcode(uint8_t code) { ldns_pkt_set_rcode(packet_.get(), code); }

 private:
  void push(ldns_pkt_section section, const ldns_rr* rr, const ldns_rdf* owner = nullptr) {
    ldns_rr* copy = ldns_rr_clone(rr);
    if (owner != nullptr) {
      ldns_rdf_deep_free(ldns_rr_owner(copy));
      ldns_rr_set_owner(copy, ldns_rdf_clone(owner));
    }
    ldns_pkt_push_rr(packet_.get(), section, copy);
  }

  // RFC 2308 3: the SOA says how long "no" holds.
  void no_data() {
    ldns_rr* soa = ldns_rr_clone(zone_.soa());
    const uint32_t minimum = ldns_rdf2native_int32(ldns_rr_rdf(soa, 6));
    ldns_rr_set_ttl(soa, std::min(ldns_rr_ttl(soa), minimum));
    ldns_pkt_push_rr(packet_.get(), LDNS_SECTION_AUTHORITY, soa);
  }

  // RFC 1034 4.3.2 3 b: below a name that is delegated, the answer is where to ask.
  bool refer(const ldns_rdf* name) {
    Owned<ldns_rdf> at(ldns_rdf_clone(name));
    const std::vector<const ldns_rr*>* cut = nullptr;
    while (at != nullptr && ldns_dname_compare(at.get(), zone_.apex()) != 0) {
      const auto* records = zone_.records(at.get());
      if (records != nullptr && std::ranges::any_of(*records, is_ns)) cut = records;
      at.reset(ldns_dname_left_chop(at.get()));
    }
    if (cut == nullptr) return false;
    for (const ldns_rr* rr : *cut) {
      if (is_ns(rr)) push(LDNS_SECTION_AUTHORITY, rr);
    }
    for (const ldns_rr* rr : *cut) {
      if (is_ns(rr)) add_addresses(ldns_rr_rdf(rr, 0));
    }
    return true;
  }
  static bool is_ns(const ldns_rr* rr) { return ldns_rr_get_type(rr) == LDNS_RR_TYPE_NS; }

  void add_addresses(const ldns_rdf* name) {
    const auto* records = zone_.contains(name) ? zone_.records(name) : nullptr;
    if (records == nullptr) return;
    for (const ldns_rr* rr : *records) {
      const ldns_rr_type type = ldns_rr_get_type(rr);
      if (type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA) push(LDNS_SECTION_ADDITIONAL, rr);
    }
  }

  // RFC 4592 3.3.1: records of the wildcard right below the closest name that exists.
  const std::vector<const ldns_rr*>* wildcard(const ldns_rdf* name) const {
    Owned<ldns_rdf> at(ldns_dname_left_chop(name));
    while (at != nullptr && !zone_.exists(at.get())) at.reset(ldns_dname_left_chop(at.get()));
    if (at == nullptr || !zone_.contains(at.get())) return nullptr;
    Owned<ldns_rdf> star(ldns_dname_new_frm_str("*"));
    if (ldns_dname_cat(star.get(), at.get()) != LDNS_STATUS_OK) return nullptr;
    return zone_.records(star.get());
  }

  void follow(const ldns_rdf* name, int aliases) {
    if (refer(name)) return;
    ldns_pkt_set_aa(packet_.get(), true);
    const auto* records = zone_.records(name);
    const bool synthesised = records == nullptr && !zone_.exists(name);
    if (synthesised) records = wildcard(name);
    if (records == nullptr) {
      if (!zone_.exists(name)) rcode(LDNS_RCODE_NXDOMAIN);  // RFC 6604 2.1: of the last name of a chain
      return no_data();
    }
    const ldns_rdf* owner = synthesised ? name : nullptr;
    bool any = false;
    for (const ldns_rr* rr : *records) {
      const ldns_rr_type type = ldns_rr_get_type(rr);
      if (type == type_ || type_ == LDNS_RR_TYPE_ANY) {
        push(LDNS_SECTION_ANSWER, rr, owner);
        any = true;
        if (type == LDNS_RR_TYPE_NS) add_addresses(ldns_rr_rdf(rr, 0));
        if (type == LDNS_RR_TYPE_MX) add_addresses(ldns_rr_rdf(rr, 1));
      } else if (type == LDNS_RR_TYPE_CNAME) {
        push(LDNS_SECTION_ANSWER, rr, owner);
        const ldns_rdf* target = ldns_rr_rdf(rr, 0);
        if (aliases < kMostAliases && zone_.contains(target)) follow(target, aliases + 1);
        return;
      }
    }
    if (!any) no_data();
  }

  [[nodiscard]] std::vector<std::byte> encode() const {
    uint8_t* data = nullptr;
    size_t size = 0;
    std::vector<std::byte> out;
    if (ldns_pkt2wire(&data, packet_.get(), &size) == LDNS_STATUS_OK) {
      out.resize(size);
      std::memcpy(out.data(), data, size);
    }
    free(data);
    return out;
  }

  const Zone& zone_;
  const ldns_pkt& query_;
  Owned<ldns_pkt> packet_;
  ldns_rr_type type_ = LDNS_RR_TYPE_A;
};

// RFC 1035 4.1.1: what cannot be read is answered with its identifier and FORMERR, nothing else.
bool refuse_malformed(std::span<const std::byte> query, std::vector<std::byte>& out) {
  constexpr size_t kHeader = 12;
  if (query.size() < kHeader || (query[2] & std::byte{0x80}) != std::byte{0}) return false;
  out.assign(kHeader, std::byte{0});
  std::memcpy(out.data(), query.data(), 2);
  out[2] = std::byte{0x80} | (query[2] & std::byte{0x79});
  out[3] = std::byte{LDNS_RCODE_FORMERR};
  return true;
}

}  // namespace

bool answer(const Zone& zone, std::span<const std::byte> query, bool stream, std::vector<std::byte>& out) {
  ldns_pkt* parsed = nullptr;
  const auto* data = reinterpret_cast<const uint8_t*>(query.data());
  if (ldns_wire2pkt(&parsed, data, query.size()) != LDNS_STATUS_OK) return refuse_malformed(query, out);
  const Owned<ldns_pkt> packet(parsed);
  if (ldns_pkt_qr(packet.get())) return false;
  Reply reply(zone, *packet);
  reply.fill();
  const size_t offered = ldns_pkt_edns(packet.get()) ? ldns_pkt_edns_udp_size(packet.get()) : size_t{0};
  out = reply.wire(stream ? size_t{65'535} : std::clamp(offered, kSmallestUdp, kLargestUdp));
  return !out.empty();
}

}  // namespace millrace::dns
