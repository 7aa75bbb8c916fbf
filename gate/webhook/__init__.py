"""The API server calls us: HTTP and AdmissionReview on the outside, requests and answers inside."""
