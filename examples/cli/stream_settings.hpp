/// \file stream_settings.hpp  From options and a detector's own settings to those of a stream, and back into a
/// detector.
#pragma once

#include "commands.hpp"

#include <negood/detector/detector_record.hpp>
#include <negood/stream/adaneg.hpp>
#include <negood/stream/interneg.hpp>

namespace negood::cli {

/// Settings of an interneg stream: the command's, else the detector's (options.stream), else the published ones.
interneg_options interneg_settings(const score_options& o, const detector_record& r);
/// The same as JSON, as it stands in a detector under options.stream.
ordered_json interneg_settings_json(const interneg_options& o);
/// Puts settings into a record.
void attach_settings(detector_record& r, const interneg_options& o);

/// Settings of an adaneg stream; batches of `reference-batch:N`.
adaneg_options adaneg_settings(const score_options& o, const detector_record& r);

/// N of `reference-batch:N`; nothing for `sequential`.
std::optional<index_type> batch_of_semantics(const std::string& text);

}  // namespace negood::cli
