"""Static trees and the cache: what is here as a tree for other servers, and what others left as content."""
