// JSON from outside: every access is checked, and a failure names what it was about.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

namespace cskd::models {

// All functions throw DataError "<subject>: <reason>".
class JsonReader {
 public:
  explicit JsonReader(std::string subject) : subject_(std::move(subject)) {}

  // At most 64 levels deep.
  nlohmann::json parse(std::string_view text) const;

  [[noreturn]] void fail(const std::string& reason) const;

  const nlohmann::json& object(const nlohmann::json& value) const;
  const nlohmann::json& field(const nlohmann::json& object, const char* name) const;
  const nlohmann::json& list(const nlohmann::json& value) const;
  std::string text(const nlohmann::json& value) const;
  std::int64_t whole(const nlohmann::json& value) const;
  double real(const nlohmann::json& value) const;  // also "Infinity" and "-Infinity", as torch.export writes them
  bool truth(const nlohmann::json& value) const;

  // The one key of an object that says of which kind it is, and what it holds.
  std::pair<std::string, const nlohmann::json&> kind(const nlohmann::json& object) const;

  // Types and shapes as torch/_export/serde/schema.py numbers and writes them. A shape is read from dimension `from`
  // on; all of its sizes must be numbers, their product at most 2^40.
  at::ScalarType type(const nlohmann::json& value) const;
  std::int64_t whole_of(const nlohmann::json& size) const;
  std::vector<std::int64_t> shape(const nlohmann::json& sizes, std::size_t from) const;

 private:
  std::string subject_;
};

}  // namespace cskd::models
