// MemorySource over DPDK's heap: payload blocks, slabs and tables lie in memory that devices can read.
#pragma once

#include "base/memory.h"

namespace millrace::drivers::dpdk {

/// Lives until the EAL is cleaned up; regions are never given back one by one.
class DpdkMemory final : public base::MemorySource {
 public:
  ~DpdkMemory() override;
  base::Region allocate(size_t bytes) override;

 private:
  std::vector<void*> heap_;
};

}  // namespace millrace::drivers::dpdk
