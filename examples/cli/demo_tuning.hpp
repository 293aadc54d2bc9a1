// Views of the study of KR-NFT: tables and plots for the report, JSON for results.json, sentences for the findings.
#pragma once

#include "demo_result.hpp"

#include <negood/io/json.hpp>

#include <string>

namespace negood::demo {

/// Tables and plots of every part of the study; empty where it was not run.
std::string tuning_html(const demo_result& r);

/// One object a map and protocol, as it was measured.
ordered_json tuning_json(const demo_result& r);

/// The runs of L_n with and without L_kr.
ordered_json runaway_json(const demo_result& r);

/// What the study says in sentences, added to the findings.
void add_tuning_findings(demo_result& r);

}  // namespace negood::demo
