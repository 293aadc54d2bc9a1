// Views of the study of memories: tables for the report, JSON for results.json, sentences for the findings.
#pragma once

#include "demo_result.hpp"

#include <negood/io/json.hpp>

#include <string>

namespace negood::demo {

/// Tables of every part of the study; empty where it was not run.
std::string study_html(const demo_result& r);

/// One object a stream, as it was measured.
ordered_json study_json(const demo_result& r);

/// What the study says in sentences, added to the findings.
void add_study_findings(demo_result& r);

}  // namespace negood::demo
