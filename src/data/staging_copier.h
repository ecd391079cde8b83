// The making of a copy in a staging folder.
#pragma once

#include <atomic>
#include <string>

#include "data/staging.h"
#include "data/staging_folder.h"

namespace cskd::data {

class StagingCopier {
 public:
  // kLater: another rank makes it, or `stopping` became true; kNoRoom: it is asked for again when it is opened again.
  enum class Outcome { kThere, kLater, kNoRoom, kNever };

  // Both must outlive it.
  StagingCopier(StagingFolder& folder, const std::atomic<bool>& stopping) : folder_(folder), stopping_(stopping) {}

  // One try; adds what it did to `counts`. Throws Error when the local disk fails. Errors of the shared one are for
  // readers to meet. From one thread.
  Outcome attempt(const std::string& name, const Staging::File& file, Staging::Counts& counts);

 private:
  Outcome make(const std::string& name, const Staging::File& file, Staging::Counts& counts);

  StagingFolder& folder_;
  const std::atomic<bool>& stopping_;
};

}  // namespace cskd::data
