// Text and bytes inside HTML.
#pragma once

#include <string>
#include <string_view>

namespace cskd::report {

// Any bytes as text between tags or inside a quoted attribute: & < > " ' become references; what is no UTF-8 and
// control characters become U+FFFD, among them those that turn the direction of writing, by which a name could look
// like another one.
std::string html_escaped(std::string_view text);

// RFC 4648.
std::string base64(std::string_view bytes);

// "data:<type>;base64,...". `type`: "image/png"
std::string data_uri(std::string_view type, std::string_view bytes);

}  // namespace cskd::report
