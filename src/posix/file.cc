#include "posix/file.h"

namespace millrace::posix {

void WatchSet::list(Watch& watch) {
  if (watch.listed) return;
  watch.listed = true;
  watch.next = nullptr;
  watch.before = last_;
  (last_ == nullptr ? first_ : last_->next) = &watch;
  last_ = &watch;
}

void WatchSet::unlist(Watch& watch) {
  if (!watch.listed) return;
  watch.listed = false;
  (watch.before == nullptr ? first_ : watch.before->next) = watch.next;
  (watch.next == nullptr ? last_ : watch.next->before) = watch.before;
}

}  // namespace millrace::posix
